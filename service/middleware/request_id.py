"""Every request has an id: the client's `X-Request-ID` when it is sane, else a new one; the answer carries it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.middleware.environ import ANSWER_HEADERS, REQUEST_ID
from service.middleware.ids import new_id

SANE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")


def request_id(app: WSGIApplication) -> WSGIApplication:
    """Set `ledgerd.request_id` and the answer's `X-Request-ID`."""

    def with_request_id(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        chosen = environ[REQUEST_ID] = choose_id(environ)
        environ[ANSWER_HEADERS].append(("X-Request-ID", chosen))
        return app(environ, start_response)

    return with_request_id


def choose_id(environ: WSGIEnvironment) -> str:
    """The client's, or a new one."""
    given = environ.get("HTTP_X_REQUEST_ID")
    return given if given is not None and SANE.fullmatch(given) else new_id(24)
