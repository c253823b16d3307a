"""Every call has a context: it ends at the client's deadline (`grpc-timeout`), after the most that a method may take, or when
the client leaves. What the call waits for ends with it, down to the statement at the server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import grpc

from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.errors import ClientClosedRequest
from service.middleware.environ import CONTEXT, Middleware
from service.rpc.environ import LIFE, SERVICER

FOREVER_S = 30 * 86_400.0  # a deadline beyond this is none


def deadline(longest_s: Callable[[str], float | None]) -> Middleware:
    """Set `ledgerd.context` and `ledgerd.rpc.life`; `longest_s(path)` is what a call of a method may take, None: any time."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_deadline(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            servicer: grpc.ServicerContext = environ[SERVICER]
            ctx = environ[CONTEXT] = environ[LIFE] = _context(servicer.time_remaining(), longest_s(environ["PATH_INFO"]))
            if not servicer.add_callback(lambda: ctx.cancel(_left())):
                ctx.cancel(_left())  # it is over already
            return app(environ, start_response)

        return with_deadline

    return layer


def _context(asked_s: float, longest_s: float | None) -> Context:
    """What the client asks for is some hundred years where it has no deadline, or one that grpc could not read."""
    within_s = min(asked_s if asked_s < FOREVER_S else inf, inf if longest_s is None else longest_s)
    return with_cancel(background()) if within_s == inf else with_timeout(background(), within_s)


def _left() -> ClientClosedRequest:
    return ClientClosedRequest("The client ended the call.")
