"""The two hot routes, answered before Flask: POST /api/transfers and GET /api/users/{id}.

Flask costs a third of such a request. The routes are the ones that Flask has, called with the same environment, so
what they check and answer cannot differ; a test sends one table of cases through both and compares the answers. Whatever is
not plainly one of the two goes on to Flask.
"""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.api.routes import Route

_USERS = "/api/users/"


def hot_routes(app: WSGIApplication, routes: Iterable[Route]) -> WSGIApplication:
    """`app`, with the hot ones of `routes` in front."""
    found = {(route.method, route.path): route.answer for route in routes}
    create_transfer, find_user = found["POST", "/api/transfers"], found["GET", "/api/users/<user_id>"]

    def with_hot_routes(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if method == "POST" and path == "/api/transfers":
            return create_transfer(environ).send(start_response)
        if method == "GET" and path.startswith(_USERS) and path[len(_USERS) :].isdecimal() and path.isascii():
            return find_user(environ, user_id=path[len(_USERS) :]).send(start_response)
        return app(environ, start_response)

    return with_hot_routes
