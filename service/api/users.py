"""/api/users: list, create, read, replace and remove users."""

from __future__ import annotations

from flask import Blueprint, Response, request

from service.api.body import read_object
from service.api.calls import admit, if_match, page, path_id, reply
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
        routes.add_url_rule("", view_func=self.list, methods=["GET"])
        routes.add_url_rule("", view_func=self.create, methods=["POST"])
        routes.add_url_rule("/<user_id>", view_func=self.find, methods=["GET"])
        routes.add_url_rule("/<user_id>", view_func=self.replace, methods=["PUT"])
        routes.add_url_rule("/<user_id>", view_func=self.delete, methods=["DELETE"])
        return routes

    def list(self) -> Response:
        """A page of users by id; with `email`, the one who has it."""
        ctx, ledger_id = admit(request.environ, "read")
        asked, filters = page(ctx, self._cursors, "users", ledger_id, "email")
        rows = self._users.list(
            ctx, ledger_id, after_id=asked.position or 0, limit=asked.limit + 1, email=filters.get("email")
        )
        return asked.reply(ctx, self._cursors, rows, show_user, lambda user: user.id)

    def create(self) -> Response:
        """201 with the user and where it is."""
        ctx, ledger_id = admit(request.environ, "write")
        user = self._users.create(ctx, ledger_id, **load(self._input, read_object(request.environ)))
        return reply(show_user(user), 201, Location=f"/api/users/{user.id}", ETag=f'"{user.version}"')

    def find(self, user_id: str) -> Response:
        """One user."""
        ctx, ledger_id = admit(request.environ, "read")
        user = self._users.find(ctx, ledger_id, path_id("user", user_id))
        return reply(show_user(user), ETag=f'"{user.version}"')

    def replace(self, user_id: str) -> Response:
        """The user with new fields; `If-Match` guards against a change in between."""
        ctx, ledger_id = admit(request.environ, "write")
        number, values = path_id("user", user_id), load(self._input, read_object(request.environ))
        user = self._users.update(ctx, ledger_id, number, **values, if_version=_if_version())
        return reply(show_user(user), ETag=f'"{user.version}"')

    def delete(self, user_id: str) -> Response:
        """204; 409 while the user has accounts that are not closed."""
        ctx, ledger_id = admit(request.environ, "write")
        self._users.delete(ctx, ledger_id, path_id("user", user_id), if_version=_if_version())
        return Response(status=204)


def _if_version() -> int | None:
    tag = if_match()
    if tag is None:
        return None
    if tag.isascii() and tag.isdecimal() and len(tag) < 19:
        return int(tag)
    raise VersionMismatch(f'No user was ever at version "{tag}".')
