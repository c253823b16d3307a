"""Refuses at the door what would be refused at its end, when there is no room for it.

A refusal that comes last costs as much as the work: the key is looked up, the body read and checked, before the full queue is
met. Offered several times what it can do, a worker would then do little but refuse. What is refused here has not been
authenticated, so whoever asks learns no more than that the service is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.middleware.environ import Middleware

CheckRoom = Callable[[WSGIEnvironment], None]


def shedding(check_room: CheckRoom) -> Middleware:
    """Call `check_room` with each request; it raises Overloaded for those that there is no room for."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_shedding(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            check_room(environ)
            return app(environ, start_response)

        return with_shedding

    return layer
