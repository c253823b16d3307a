"""/api/ledgers: the tenants, for operators."""

from __future__ import annotations

from collections.abc import Iterable

from service.api.answers import LedgerAnswer, LedgerPage
from service.api.body import read_object
from service.api.calls import Answer, Call, page, path_id
from service.api.cursors import Cursors
from service.api.parameters import MADE, PAGE
from service.api.representation import show_ledger
from service.api.routes import Route
from service.api.schemas import LedgerInput, load
from service.ledger.ledgers import Ledgers


class LedgerHandlers:
    """The handlers, with what they need."""

    def __init__(self, ledgers: Ledgers, cursors: Cursors) -> None:
        self._ledgers = ledgers
        self._cursors = cursors
        self._input = LedgerInput()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/ledgers", handler=self.list, scope="ledgers:read", summary="A page of ledgers by id",
            query=PAGE, answers={200: LedgerPage()},
        )
        yield Route(
            method="POST", path="/api/ledgers", handler=self.create, scope="ledgers:write", summary="Make a ledger",
            body=self._input, answers={201: LedgerAnswer()}, answer_headers=MADE, errors=("conflict",),
        )
        yield Route(
            method="GET", path="/api/ledgers/<ledger_id>", handler=self.find, scope="ledgers:read", summary="One ledger",
            answers={200: LedgerAnswer()}, errors=("not_found",),
        )

    def list(self, call: Call) -> Answer:
        """A page of ledgers by id."""
        asked, _ = page(call, self._cursors, "ledgers")
        rows = self._ledgers.list(call.ctx, after_id=asked.position or 0, limit=asked.limit + 1)
        return asked.answer(call.ctx, self._cursors, rows, show_ledger, lambda ledger: ledger.id)

    def create(self, call: Call) -> Answer:
        """201 with the ledger and where it is."""
        ledger = self._ledgers.create(call.ctx, **load(self._input, read_object(call.environ)))
        return Answer(show_ledger(ledger), 201, Location=f"/api/ledgers/{ledger.id}")

    def find(self, call: Call, ledger_id: str) -> Answer:
        """One ledger."""
        return Answer(show_ledger(self._ledgers.find(call.ctx, path_id("ledger", ledger_id))))
