"""/api/users: list, create, read, replace and remove users."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from flask import Blueprint

from service.api.body import read_object
from service.api.calls import Answer, admit, if_match, page, path_id, view
from service.api.cursors import Cursors
from service.api.representation import show_user
from service.api.schemas import UserInput, load
from service.errors import VersionMismatch
from service.ledger.users import Users


class UserHandlers:
    """The handlers, with what they need."""

    def __init__(self, users: Users, cursors: Cursors) -> None:
        self._users = users
        self._cursors = cursors
        self._input = UserInput()

    def blueprint(self) -> Blueprint:
        """The routes."""
        routes = Blueprint("users", __name__, url_prefix="/api/users")
        routes.add_url_rule("", "list", view(self.list), methods=["GET"])
        routes.add_url_rule("", "create", view(self.create), methods=["POST"])
        routes.add_url_rule("/<user_id>", "find", view(self.find), methods=["GET"])
        routes.add_url_rule("/<user_id>", "replace", view(self.replace), methods=["PUT"])
        routes.add_url_rule("/<user_id>", "delete", view(self.delete), methods=["DELETE"])
        return routes

    def list(self, environ: WSGIEnvironment) -> Answer:
        """A page of users by id; with `email`, the one who has it."""
        ctx, ledger_id = admit(environ, "read", parameters=True)
        asked, filters = page(environ, ctx, self._cursors, "users", ledger_id, "email")
        rows = self._users.list(
            ctx, ledger_id, after_id=asked.position or 0, limit=asked.limit + 1, email=filters.get("email")
        )
        return asked.answer(ctx, self._cursors, rows, show_user, lambda user: user.id)

    def create(self, environ: WSGIEnvironment) -> Answer:
        """201 with the user and where it is."""
        ctx, ledger_id = admit(environ, "write")
        user = self._users.create(ctx, ledger_id, **load(self._input, read_object(environ)))
        return Answer(show_user(user), 201, Location=f"/api/users/{user.id}", ETag=f'"{user.version}"')

    def find(self, environ: WSGIEnvironment, user_id: str) -> Answer:
        """One user."""
        ctx, ledger_id = admit(environ, "read")
        user = self._users.find(ctx, ledger_id, path_id("user", user_id))
        return Answer(show_user(user), ETag=f'"{user.version}"')

    def replace(self, environ: WSGIEnvironment, user_id: str) -> Answer:
        """The user with new fields; `If-Match` guards against a change in between."""
        ctx, ledger_id = admit(environ, "write")
        number, values = path_id("user", user_id), load(self._input, read_object(environ))
        user = self._users.update(ctx, ledger_id, number, **values, if_version=_if_version(environ))
        return Answer(show_user(user), ETag=f'"{user.version}"')

    def delete(self, environ: WSGIEnvironment, user_id: str) -> Answer:
        """204; 409 while the user has accounts that are not closed."""
        ctx, ledger_id = admit(environ, "write")
        self._users.delete(ctx, ledger_id, path_id("user", user_id), if_version=_if_version(environ))
        return Answer(None, 204)


def _if_version(environ: WSGIEnvironment) -> int | None:
    tag = if_match(environ)
    if tag is None:
        return None
    if tag.isascii() and tag.isdecimal() and len(tag) < 19 and tag[0] != "0":
        return int(tag)
    raise VersionMismatch(f'No user was ever at version "{tag}".')
