"""/api/accounts/{id}/entries and /balance: an account's statement, and what it holds, now or at any time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from service.api.answers import BalanceAnswer, EntryPage
from service.api.calls import Answer, Call, Page, page, parameters, path_id
from service.api.cursors import Cursors
from service.api.filters import query_stretch, query_time, query_word
from service.api.parameters import FROM, PAGE, TIME, TO
from service.api.representation import show_balance, show_entry, show_time
from service.api.routes import Parameter, Route
from service.ledger.accounts import Accounts
from service.ledger.entries import Direction, Entries, Entry, Stretch
from service.ledger.money import GREATEST_ID

_DIRECTION = Parameter("direction", "only debits, or only credits", {"type": "string", "enum": ["debit", "credit"]})
_ORDER = Parameter(
    "order", "newest first (`desc`), or oldest first", {"type": "string", "enum": ["asc", "desc"], "default": "desc"}
)


class EntryHandlers:
    """The handlers, with what they need."""

    def __init__(self, entries: Entries, accounts: Accounts, cursors: Cursors) -> None:
        self._entries = entries
        self._accounts = accounts
        self._cursors = cursors

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/accounts/<account_id>/entries", handler=self.list, scope="accounts:read",
            summary="An account's statement: a line for each transfer, with the balance after it", operation="entries",
            query=(*PAGE, FROM, TO, _DIRECTION, _ORDER), answers={200: EntryPage()}, errors=("not_found",),
        )
        yield Route(
            method="GET", path="/api/accounts/<account_id>/balance", handler=self.balance, scope="accounts:read",
            summary="What an account holds now, or held at a time, in minor units",
            query=(Parameter("at", "a time that has passed", TIME),), answers={200: BalanceAnswer()}, errors=("not_found",),
        )

    def list(self, call: Call, account_id: str) -> Answer:
        """A page of the statement, which cursors lead on from and back from."""
        number = path_id("account", account_id)
        asked, given = page(call, self._cursors, f"entries {number}", "from", "to", "direction", "order")
        since, until = query_stretch(given)
        direction = cast(Direction | None, query_word(given, "direction", "debit", "credit"))
        newest_first = query_word(given, "order", "asc", "desc") != "asc"
        version, back = (None, False) if asked.position is None else (asked.position >> 1, asked.position & 1 == 1)
        down = newest_first != back
        stretch = Stretch(
            after=0 if version is None or down else version,
            before=GREATEST_ID if version is None or not down else version,
            since=since, until=until, direction=direction,
        )
        rows = self._entries.list(call.ctx, call.ledger_id, number, stretch, newest_first=down, limit=asked.limit + 1)
        more, shown = len(rows) > asked.limit, rows[: asked.limit][:: -1 if back else 1]
        goes_on, comes_from = (version is not None, more) if back else (more, version is not None)
        return Answer({
            "data": [show_entry(entry) for entry in shown],
            "next_cursor": self._cursor(call, asked, shown[-1], back=False) if shown and goes_on else None,
            "previous_cursor": self._cursor(call, asked, shown[0], back=True) if shown and comes_from else None,
        })

    def balance(self, call: Call, account_id: str) -> Answer:
        """What the account holds now, or held at the time `at`."""
        number, given = path_id("account", account_id), parameters(call, "at")
        at = query_time(given, "at")
        if at is None:
            return Answer(show_balance(self._accounts.find(call.ctx, call.ledger_id, number)))
        then = self._entries.balance_at(call.ctx, call.ledger_id, number, at)
        return Answer({
            "account_id": number, "asset": then.asset, "balance": then.balance, "held": then.held,
            "available": then.balance - then.held, "version": then.version, "at": show_time(at),
        })

    def _cursor(self, call: Call, asked: Page, entry: Entry, *, back: bool) -> str:
        """Where to go on from `entry`, or back from it: its version, and which of the two in the lowest bit."""
        return self._cursors.issue(call.ctx, asked.scope, entry.version << 1 | back)
