"""Refuses what no parser in front of us refuses: a request without a proper Host, or whose target is not plainly a path.

Flask refuses such a Host too, but in its own words, and for the routes that it sees alone. An encoded slash becomes a real
one before anybody routes by it: `/api%2Fusers` would get past a proxy's rule for `/api/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.errors import MalformedRequest

_SLASH = re.compile(r"[^?]*%(?:2f|5c)", re.IGNORECASE | re.ASCII)
_MOST_LABEL = 63  # RFC 1035, 2.3.4


def request_target(app: WSGIApplication) -> WSGIApplication:
    """Raise MalformedRequest for HTTP/1.1 without Host (RFC 9112, 3.2), one that cannot be, other targets than plain paths."""

    def with_request_target(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = environ.get("HTTP_HOST")
        if not host:
            if environ.get("SERVER_PROTOCOL") != "HTTP/1.0":
                raise MalformedRequest("The request has no Host header.")
        elif not is_host(host):
            raise MalformedRequest(f"The Host header names no host: between dots there are 1 to {_MOST_LABEL} characters.")
        target = environ.get("RAW_URI", "/")
        if not target.startswith("/"):
            raise MalformedRequest("The request target must be a path, such as /api/users.")
        if "%" in target and _SLASH.match(target):
            raise MalformedRequest("The path has an encoded slash or backslash (%2F, %5C); no path here has one.")
        return app(environ, start_response)

    return with_request_target


@lru_cache(64)  # clients send the same few, and this is on the way of every request
def is_host(host: str) -> bool:
    """Whether the labels of a Host header, which may have a port and end with a dot, are as long as they can be."""
    *labels, last = host.partition(":")[0].split(".")
    return host != "" and len(last) <= _MOST_LABEL and all(0 < len(label) <= _MOST_LABEL for label in labels)
