"""The two hot routes, answered before Flask: POST /api/transfers and GET /api/users/{id}.

Flask costs a third of such a request. The handlers are the ones behind Flask's routes, called with the same environment, so
what they check and answer cannot differ; a test sends one table of cases through both and compares the answers. Whatever is
not plainly one of the two goes on to Flask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.api.calls import Answer

_USERS = "/api/users/"


def hot_routes(
    app: WSGIApplication,
    *,
    create_transfer: Callable[[WSGIEnvironment], Answer],
    find_user: Callable[[WSGIEnvironment, str], Answer],
) -> WSGIApplication:
    """`app`, with the hot routes in front."""

    def with_hot_routes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method == "POST" and path == "/api/transfers":
            return create_transfer(environ).send(start_response)
        if method == "GET" and path.startswith(_USERS) and path[len(_USERS) :].isdecimal() and path.isascii():
            return find_user(environ, path[len(_USERS) :]).send(start_response)
        return app(environ, start_response)

    return with_hot_routes
