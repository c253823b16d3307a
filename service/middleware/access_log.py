"""One log line a request: who, what, how it ended and how long it took. Nothing of bodies, queries or secrets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.concurrency.primitives import monotonic
from service.middleware.environ import CLIENT_ADDRESS, PRINCIPAL, REQUEST_ID, ExcInfo, Headers

log = logging.getLogger("ledgerd.access")


def access_log(app: WSGIApplication) -> WSGIApplication:
    """Log each answer at info, those from 500 on at warning."""

    def with_access_log(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = monotonic()
        status = 0

        def start(line: str, headers: Headers, exc_info: ExcInfo = None) -> Callable[[bytes], object]:
            nonlocal status
            status = int(line[:3])
            return start_response(line, headers, exc_info)

        body = app(environ, start)
        level = logging.WARNING if status >= 500 else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "request", extra={"fields": _fields(environ, status, monotonic() - began)})
        return body

    return with_access_log


def _fields(environ: WSGIEnvironment, status: int, duration_s: float) -> dict[str, object]:
    principal = environ.get(PRINCIPAL)
    return {
        "request_id": environ.get(REQUEST_ID),
        "method": environ.get("REQUEST_METHOD"),
        "path": environ.get("PATH_INFO"),
        "status": status,
        "duration_ms": round(duration_s * 1000, 3),
        "remote": environ.get(CLIENT_ADDRESS),
        "key_id": getattr(principal, "key_id", None),
    }
