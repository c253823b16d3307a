"""/api/audit/seals: what the log was, for whoever keeps it elsewhere."""

from __future__ import annotations

from collections.abc import Iterable

from service.api.answers import SealPage
from service.api.calls import Answer, Call, page
from service.api.cursors import Cursors
from service.api.parameters import PAGE
from service.api.representation import show_seal, show_time
from service.api.routes import Route
from service.audit.seal import Seals
from service.ledger.money import GREATEST_ID


class SealHandlers:
    """The handlers, with what they need."""

    def __init__(self, seals: Seals, cursors: Cursors) -> None:
        self._seals = seals
        self._cursors = cursors

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/audit/seals", handler=self.list, scope="audit:read",
            summary="A page of seals over the log, newest first, and how far it is sealed", query=PAGE,
            answers={200: SealPage()},
        )

    def list(self, call: Call) -> Answer:
        """A page of seals, newest first."""
        asked, _ = page(call, self._cursors, "seals")
        rows, standing = self._seals.list(
            call.ctx, call.ledger_id, before=asked.position or GREATEST_ID, limit=asked.limit + 1
        )
        shown = rows[: asked.limit]
        goes_on = len(rows) > asked.limit
        return Answer({
            "data": [show_seal(seal) for seal in shown],
            "next_cursor": self._cursors.issue(call.ctx, asked.scope, shown[-1].number) if goes_on else None,
            "sealed_to": standing.sealed_to,
            "unsealed_since": None if standing.unsealed_since is None else show_time(standing.unsealed_since),
        })
