"""Refuses what no parser in front of us refuses: a request without Host, or with a target that is not plainly a path.

An encoded slash becomes a real one before anybody routes by it: `/api%2Fusers` would get past a proxy's rule for `/api/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.errors import MalformedRequest

_SLASH = re.compile(r"[^?]*%(?:2f|5c)", re.IGNORECASE | re.ASCII)


def request_target(app: WSGIApplication) -> WSGIApplication:
    """Raise MalformedRequest for HTTP/1.1 without Host (RFC 9112, 3.2), absolute-form targets, encoded slashes in a path."""

    def with_request_target(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ.get("HTTP_HOST") and environ.get("SERVER_PROTOCOL") != "HTTP/1.0":
            raise MalformedRequest("The request has no Host header.")
        target = environ.get("RAW_URI", "/")
        if not target.startswith("/"):
            raise MalformedRequest("The request target must be a path, such as /api/users.")
        if "%" in target and _SLASH.match(target):
            raise MalformedRequest("The path has an encoded slash or backslash (%2F, %5C); no path here has one.")
        return app(environ, start_response)

    return with_request_target
