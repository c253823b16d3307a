"""/api/search: find users, accounts and transfers by what one remembers of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from service.api.answers import SearchAnswer
from service.api.calls import Answer, Call, parameters, read_limit
from service.api.fields import INVISIBLE
from service.api.parameters import LIMIT
from service.api.representation import show_account, show_transfer, show_user
from service.api.routes import Parameter, Route
from service.ledger.search import LONGEST, Kind, Search

_ASKED = f"^([1-9]|[^{INVISIBLE}][^\\x00]*[^{INVISIBLE}])$"  # what is around it is taken off
_Q = Parameter(
    "q", "words or their beginnings, how a reference begins, or an id",
    {"type": "string", "maxLength": LONGEST, "pattern": _ASKED, "examples": ["ada"]}, required=True,
)
_SHOW: dict[Kind, Callable[[Any], dict[str, Any]]] = {"user": show_user, "account": show_account, "transfer": show_transfer}


class SearchHandlers:
    """The handler, with what it needs."""

    def __init__(self, search: Search) -> None:
        self._search = search

    def routes(self) -> Iterable[Route]:
        """The route."""
        yield Route(
            method="GET", path="/api/search", handler=self.find, scope="users:read accounts:read transfers:read",
            summary="Users, accounts and transfers that fit, the best first", query=(_Q, LIMIT), answers={200: SearchAnswer()},
        )

    def find(self, call: Call) -> Answer:
        """What fits, each with its kind."""
        given = parameters(call, "q", "limit")
        found = self._search.find(call.ctx, call.ledger_id, given.get("q", ""), limit=read_limit(given))
        return Answer({"data": [{"kind": one.kind, one.kind: _SHOW[one.kind](one.thing)} for one in found]})
