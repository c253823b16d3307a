"""/api/users: list, create, read, replace and remove users."""

from __future__ import annotations

from collections.abc import Iterable

from service.api.answers import UserAnswer, UserPage
from service.api.body import read_object
from service.api.calls import Answer, Call, as_lines, page, path_id, to_json
from service.api.conditions import if_match, is_known, wants_anew
from service.api.cursors import Cursors
from service.api.parameters import CACHE_CONTROL, IF_MATCH, IF_NONE_MATCH, MADE, PAGE, SEARCHED, TAGGED, WRITTEN
from service.api.positions import Positions
from service.api.representation import show_user
from service.api.routes import Parameter, Route
from service.api.schemas import UserInput, load
from service.errors import VersionMismatch
from service.ledger.user import User
from service.ledger.user_cache import FoundUser
from service.ledger.users import Users


class UserHandlers:
    """The handlers, with what they need."""

    def __init__(self, users: Users, cursors: Cursors) -> None:
        self._users = users
        self._cursors = cursors
        self._positions = Positions(cursors)
        self._input = UserInput()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/users", handler=self.list, scope="users:read",
            summary="A page of users by id; with `email`, the one who has it",
            query=(*PAGE, Parameter("email", "whose it is", SEARCHED)), answers={200: UserPage()},
        )
        yield Route(
            method="POST", path="/api/users", handler=self.create, scope="users:write", summary="Make a user",
            body=self._input, answers={201: UserAnswer()}, answer_headers=MADE | TAGGED | WRITTEN, errors=("conflict",),
        )
        yield Route(
            method="GET", path="/api/users/<user_id>", handler=self.find, scope="users:read",
            summary="One user; as at most a second ago, unless `Cache-Control` asks for more",
            headers=(IF_NONE_MATCH, CACHE_CONTROL), answers={200: UserAnswer(), 304: None}, answer_headers=TAGGED,
            errors=("not_found", "overloaded"),
        )
        yield Route(
            method="PUT", path="/api/users/<user_id>", handler=self.replace, scope="users:write",
            summary="Replace a user's fields; `If-Match` guards against a change in between", headers=(IF_MATCH,),
            body=self._input, answers={200: UserAnswer()}, answer_headers=TAGGED | WRITTEN,
            errors=("not_found", "conflict", "version_mismatch"),
        )
        yield Route(
            method="DELETE", path="/api/users/<user_id>", handler=self.delete, scope="users:write",
            summary="Remove a user who has no accounts but closed ones", headers=(IF_MATCH,), answers={204: None},
            answer_headers=WRITTEN,
            errors=("not_found", "conflict", "version_mismatch"),
        )

    def list(self, call: Call) -> Answer:
        """A page of users by id; with `email`, the one who has it."""
        asked, filters = page(call, self._cursors, "users", "email")
        rows = self._users.list(
            call.ctx, call.ledger_id, after_id=asked.position or 0, limit=asked.limit + 1, email=filters.get("email")
        )
        return asked.answer(call.ctx, self._cursors, rows, show_user, lambda user: user.id)

    def create(self, call: Call) -> Answer:
        """201 with the user and where it is."""
        made = self._users.create(call.ctx, call.ledger_id, **load(self._input, read_object(call.environ)))
        user, position = made.thing, self._positions.tell(call, made.position)
        where = f"/api/users/{user.id}"
        return Answer(show_user(user), 201, Location=where, ETag=_tag(user), Ledger_Position=position)

    def find(self, call: Call, user_id: str) -> Answer:
        """One user, or 304 to a client that has this version."""
        found = self._users.find(call.ctx, call.ledger_id, path_id("user", user_id), anew=wants_anew(call))
        tag = _tag(found.user)
        if is_known(call, tag):
            return Answer(None, 304, ETag=tag)
        return Answer(show_once(found), ETag=tag)

    def replace(self, call: Call, user_id: str) -> Answer:
        """The user with new fields; `If-Match` guards against a change in between."""
        number, values = path_id("user", user_id), load(self._input, read_object(call.environ))
        made = self._users.update(call.ctx, call.ledger_id, number, **values, if_version=_if_version(call))
        user, position = made.thing, self._positions.tell(call, made.position)
        return Answer(show_user(user), ETag=_tag(user), Ledger_Position=position)

    def delete(self, call: Call, user_id: str) -> Answer:
        """204; 409 while the user has accounts that are not closed."""
        number, version = path_id("user", user_id), _if_version(call)
        position = self._users.delete(call.ctx, call.ledger_id, number, if_version=version)
        return Answer(None, 204, Ledger_Position=self._positions.tell(call, position))


def _if_version(call: Call) -> int | None:
    tag = if_match(call)
    if tag is None:
        return None
    if tag.isascii() and tag.isdecimal() and len(tag) < 19 and tag[0] != "0":
        return int(tag)
    raise VersionMismatch(f'No user was ever at version "{tag}".')


def show_once(found: FoundUser) -> bytes:
    """The body that shows a user, made the first time; `head` is there with it."""
    if found.body is None:
        body = to_json(show_user(found.user))
        found.head, found.body = as_lines(Answer(body, ETag=_tag(found.user)).headers), body
    return found.body


def _tag(user: User) -> str:
    return f'"{user.version}"'
