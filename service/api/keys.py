"""/api/keys: make, show, rotate and revoke the API keys of a ledger; an operator those of any."""

from __future__ import annotations

import re
from collections.abc import Iterable

from service.api.answers import KeyAnswer, KeyPage, NewKeyAnswer
from service.api.body import read_object
from service.api.calls import Answer, Call, page
from service.api.cursors import Cursors
from service.api.fields import whole
from service.api.parameters import MADE, PAGE, SEARCHED
from service.api.representation import show_key
from service.api.routes import Header, Parameter, Route
from service.api.schemas import KeyInput, RotationInput, load
from service.errors import FieldError, Forbidden, InvalidInput, NotFound
from service.ledger.grants import Grant
from service.ledger.keys import Keys, NewKey

_ID = re.compile(r"[0-9a-f]{12}")
_KEY_ID = Parameter("key_id", "its id", {"type": "string", "pattern": whole(_ID)})
_SHOWN_ONCE = MADE | {"Cache-Control": Header("the answer holds a secret", {"const": "no-store"})}


class KeyHandlers:
    """The handlers, with what they need."""

    def __init__(self, keys: Keys, cursors: Cursors) -> None:
        self._keys = keys
        self._cursors = cursors
        self._input = KeyInput()
        self._rotation = RotationInput()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/keys", handler=self.list, scope="keys:read",
            summary="A page of the ledger's keys in the order of making; an operator names another ledger by `ledger`",
            query=(*PAGE, Parameter("ledger", "the name of a ledger, for operators", SEARCHED)), answers={200: KeyPage()},
            errors=("not_found",),
        )
        yield Route(
            method="POST", path="/api/keys", handler=self.create, scope="keys:write",
            summary="Make a key, which is given no more than the key that makes it holds; it is shown this once",
            body=self._input, answers={201: NewKeyAnswer()}, answer_headers=_SHOWN_ONCE, errors=("not_found",),
        )
        yield Route(
            method="GET", path="/api/keys/<key_id>", handler=self.find, scope="keys:read", variables=(_KEY_ID,),
            summary="One key, without its secret", answers={200: KeyAnswer()}, errors=("not_found",),
        )
        yield Route(
            method="DELETE", path="/api/keys/<key_id>", handler=self.revoke, scope="keys:write", variables=(_KEY_ID,),
            summary="Revoke a key, for ever; every worker refuses it within a second", answers={204: None},
            errors=("not_found",),
        )
        yield Route(
            method="POST", path="/api/keys/<key_id>/rotate", handler=self.rotate, scope="keys:write", variables=(_KEY_ID,),
            summary="Make a key that is given the same, and let the old one end after the overlap", body=self._rotation,
            answers={201: NewKeyAnswer()}, answer_headers=_SHOWN_ONCE, errors=("not_found", "conflict"),
        )

    def list(self, call: Call) -> Answer:
        """A page of keys in the order of making."""
        asked, filters = page(call, self._cursors, "keys", "ledger")
        if "ledger" in filters and not call.principal.operates:
            problem = FieldError("ledger", "only an operator may name one")
            raise Forbidden("This key sees the keys of its own ledger alone.", fields=(problem,))
        ledger = filters.get("ledger", call.ledger_id)
        rows = self._keys.list(call.ctx, ledger, after=asked.position or 0, limit=asked.limit + 1)
        return asked.answer(call.ctx, self._cursors, rows, show_key, lambda key: key.number)

    def create(self, call: Call) -> Answer:
        """201 with the key, its secret, and where it is."""
        values = load(self._input, read_object(call.environ))
        ledger, lifetime_s = values.pop("ledger"), values.pop("expires_in_s")
        if lifetime_s is not None and values["expires_at"] is not None:
            problem = FieldError("expires_in_s", "not together with expires_at")
            raise InvalidInput("A key ends at one moment.", fields=(problem,))
        made = self._keys.create(call.ctx, Grant(**values), by=call.principal, ledger=ledger, lifetime_s=lifetime_s)
        return _shown_once(made)

    def find(self, call: Call, key_id: str) -> Answer:
        """One key."""
        return Answer(show_key(self._keys.find(call.ctx, _key_id(key_id), by=call.principal)))

    def revoke(self, call: Call, key_id: str) -> Answer:
        """204, also when it was revoked before. A key may revoke itself."""
        self._keys.revoke(call.ctx, _key_id(key_id), by=call.principal)
        return Answer(None, 204)

    def rotate(self, call: Call, key_id: str) -> Answer:
        """201 with the key that follows, its secret, and where it is."""
        old, values = _key_id(key_id), load(self._rotation, read_object(call.environ))
        return _shown_once(self._keys.rotate(call.ctx, old, by=call.principal, overlap_s=values["overlap_s"]))


def _key_id(text: str) -> str:
    """An id out of a path. Raises NotFound for what cannot be one."""
    if _ID.fullmatch(text):
        return text
    raise NotFound(f"No API key {text[:40]!r}: ids are 12 hexadecimal digits.")


def _shown_once(made: NewKey) -> Answer:
    content = {**show_key(made.key), "key": made.token}
    return Answer(content, 201, Location=f"/api/keys/{made.key.id}", Cache_Control="no-store")
