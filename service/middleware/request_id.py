"""Every request has an id: the client's `X-Request-ID` when it is sane, else a new one; the answer carries it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.middleware.environ import REQUEST_ID, ExcInfo, Headers

SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def request_id(app: WSGIApplication) -> WSGIApplication:
    """Set `ledgerd.request_id` and the answer's `X-Request-ID`."""

    def with_request_id(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        given = environ.get("HTTP_X_REQUEST_ID")
        chosen = given if given is not None and SANE.fullmatch(given) else os.urandom(12).hex()
        environ[REQUEST_ID] = chosen

        def start(status: str, headers: Headers, exc_info: ExcInfo = None) -> Callable[[bytes], object]:
            headers.append(("X-Request-ID", chosen))
            return start_response(status, headers, exc_info)

        return app(environ, start)

    return with_request_id
