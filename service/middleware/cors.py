"""Cross-origin requests: refused by browsers unless LEDGERD_CORS_ORIGINS names the origin."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.middleware.environ import ExcInfo, Headers, Middleware

_ALLOW = [
    ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE"),
    (
        "Access-Control-Allow-Headers",
        "Authorization, Cache-Control, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID,"
        " Ledger-Position, Request-Timeout, X-Request-ID, traceparent, tracestate",
    ),
    ("Access-Control-Max-Age", "600"),
]
_EXPOSE = (
    "Access-Control-Expose-Headers",
    "ETag, Idempotency-Replayed, Ledger-Position, Location, RateLimit, RateLimit-Policy, Retry-After, X-Request-ID,"
    " traceparent",
)


def cors(origins: Collection[str]) -> Middleware:
    """Answer preflight requests of `origins` and mark their answers; `*` stands for every origin."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        if not origins:
            return app

        def with_cors(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            origin = environ.get("HTTP_ORIGIN")
            if origin is None or ("*" not in origins and origin not in origins):
                return app(environ, start_response)
            mine = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin"), _EXPOSE]
            if environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
                start_response("204 No Content", [*mine, *_ALLOW])
                return []

            def start(status: str, headers: Headers, exc_info: ExcInfo = None) -> Callable[[bytes], object]:
                return start_response(status, [*headers, *mine], exc_info)

            return app(environ, start)

        return with_cors

    return layer
