"""Refuses what no parser in front of us refuses: a request without Host, or with a target that is not a path."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.errors import MalformedRequest


def request_target(app: WSGIApplication) -> WSGIApplication:
    """Raise MalformedRequest for HTTP/1.1 without Host (RFC 9112, 3.2), and for absolute-form targets."""

    def with_request_target(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ.get("HTTP_HOST") and environ.get("SERVER_PROTOCOL") != "HTTP/1.0":
            raise MalformedRequest("The request has no Host header.")
        if not environ.get("RAW_URI", "/").startswith("/"):
            raise MalformedRequest("The request target must be a path, such as /api/users.")
        return app(environ, start_response)

    return with_request_target
