"""HTTP: the routes of each resource, and how they answer. Errors pass through to the middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed

from service.api.calls import STATUS_LINES
from service.api.routes import Route
from service.errors import LedgerdError, MalformedRequest, MethodNotAllowed, NotFound


def create_flask(routes: Iterable[Route]) -> Flask:
    """The Flask application. It answers no error itself: each is raised as one of the taxonomy."""
    flask = Flask("service", static_folder=None)
    flask.config["PROPAGATE_EXCEPTIONS"] = True
    flask.url_map.merge_slashes = False  # `//` would be answered with a redirect, in HTML
    flask.register_error_handler(HTTPException, _raise_in_taxonomy)
    flask.before_request(_refuse_slashes)
    for route in routes:
        name = f"{route.method} {route.path}"
        flask.add_url_rule(route.path, name, _view(route), methods=[route.method], provide_automatic_options=False)
    return flask


def _view(route: Route) -> Callable[..., Response]:
    def view(**variables: str) -> Response:
        answer = route.answer(request.environ, **variables)
        response = Response(answer.body, STATUS_LINES[answer.status], answer.headers)
        if "Content-Type" not in dict(answer.headers):
            del response.headers["Content-Type"]  # Flask's default, of nothing
        return response

    return view


def _refuse_slashes() -> None:
    """Werkzeug drops slashes at the beginning: `//healthz` would be `/healthz`, but not for whoever opens paths by name."""
    if request.environ["PATH_INFO"].startswith("//"):
        raise NotFound("There is nothing at this path; docs/api.md lists what there is.")


def _raise_in_taxonomy(exc: HTTPException) -> NoReturn:
    error: LedgerdError
    if isinstance(exc, WerkzeugMethodNotAllowed):
        allowed = tuple(sorted(exc.valid_methods or ()))
        error = MethodNotAllowed(f"This path takes {', '.join(allowed)}.", allowed=allowed)
    elif exc.code == 404:
        error = NotFound("There is nothing at this path; docs/api.md lists what there is.")
    else:
        error = MalformedRequest(exc.description or "The request cannot be read.")
    raise error from exc
