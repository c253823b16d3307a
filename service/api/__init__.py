"""HTTP: one Flask blueprint a resource. Handlers read, call a service and answer; errors pass through to the middleware."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

from flask import Blueprint, Flask
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WerkzeugMethodNotAllowed

from service.errors import LedgerdError, MalformedRequest, MethodNotAllowed, NotFound


def create_flask(blueprints: Iterable[Blueprint]) -> Flask:
    """The Flask application. It answers no error itself: each is raised as one of the taxonomy."""
    flask = Flask("service", static_folder=None)
    flask.config["PROPAGATE_EXCEPTIONS"] = True
    flask.url_map.merge_slashes = False  # `//` would be answered with a redirect, in HTML
    flask.register_error_handler(HTTPException, _raise_in_taxonomy)
    for blueprint in blueprints:
        flask.register_blueprint(blueprint)
    return flask


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
