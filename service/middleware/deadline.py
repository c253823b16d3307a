"""Every request has a context: it ends after `Request-Timeout` seconds, the configured maximum, or when the client leaves.

What the request waits for ends with it: its turn in a queue, a connection, a statement at the server.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.concurrency.context import Context, background, with_timeout
from service.errors import ClientClosedRequest, FieldError, InvalidInput
from service.middleware.environ import CLIENT_LEFT, CONTEXT, Middleware

SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def deadline(longest_s: float) -> Middleware:
    """Set `ledgerd.context`. Raises InvalidInput for a header that is no positive decimal number."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_deadline(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            header = environ.get("HTTP_REQUEST_TIMEOUT")
            timeout_s = longest_s if header is None else min(_seconds(header), longest_s)
            ctx: Context = with_timeout(background(), timeout_s)
            environ[CONTEXT] = ctx
            forget = end_with_client(environ, ctx)
            try:
                return app(environ, start_response)
            finally:
                forget()

        return with_deadline

    return layer


def end_with_client(environ: WSGIEnvironment, ctx: Context) -> Callable[[], object]:
    """Cancel `ctx` when the client leaves, where the server can tell; returns what forgets that. One context at a time."""
    on_leave = environ.get(CLIENT_LEFT)
    if on_leave is None:
        return _nothing
    forget: Callable[[], object] = on_leave(lambda: ctx.cancel(ClientClosedRequest("The client closed the connection.")))
    return forget


def _nothing() -> None:
    """There is nothing to forget."""


def _seconds(header: str) -> float:
    if SECONDS.fullmatch(header) is None or float(header) == 0:
        message = "expected seconds as a positive decimal number, such as 2.5"
        raise InvalidInput(f"Request-Timeout: {message}.", fields=(FieldError("Request-Timeout", message),))
    return float(header)
