"""/api/transfers: post transfers and holds, one or several together, and read the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from service.api.answers import TransferAnswer, TransferPage
from service.api.body import read_object
from service.api.calls import Answer, Call, page, path_id
from service.api.cursors import Cursors
from service.api.filters import read_wanted
from service.api.parameters import PAGE, WANTED
from service.api.positions import Positions
from service.api.posting import (
    DRY_RUN,
    IDEMPOTENCY_KEY,
    POSTED,
    answer_linked,
    answer_posted,
    check_debits,
    idempotency_key,
    is_dry_run,
)
from service.api.posting_answers import LinkedAnswer, TriedLinkedAnswer, TriedTransferAnswer
from service.api.representation import show_transfer
from service.api.routes import Route
from service.api.schemas import LinkedInput, TransferInput, load
from service.ledger.money import GREATEST_ID
from service.ledger.transfers import Kind, PostRequest, Transfers, link

_REFUSALS = (
    "not_found", "version_mismatch", "insufficient_funds", "asset_mismatch", "account_closed", "account_frozen",
    "same_account", "limit_exceeded", "idempotency_key_reused", "overloaded",
)


class TransferHandlers:
    """The handlers, with what they need."""

    def __init__(self, transfers: Transfers, cursors: Cursors) -> None:
        self._transfers = transfers
        self._cursors = cursors
        self._positions = Positions(cursors)
        self._input = TransferInput()
        self._linked = LinkedInput()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/transfers", handler=self.list, scope="transfers:read",
            summary="A page of transfers, newest first; of an account, with a reference, or of a stretch of time",
            query=(*PAGE, *WANTED), answers={200: TransferPage()},
        )
        yield Route(
            method="POST", path="/api/transfers", handler=self.create, scope="transfers:write",
            summary="Post a transfer, or hold its amount; with an `Idempotency-Key`, once for ever",
            query=(DRY_RUN,), headers=(IDEMPOTENCY_KEY,), body=self._input,
            answers={201: TransferAnswer(), 200: TriedTransferAnswer()}, answer_headers=POSTED, errors=_REFUSALS,
        )
        yield Route(
            method="POST", path="/api/transfers/linked", handler=self.create_linked, scope="transfers:write",
            summary="Post several transfers or holds, all or none", operation="link",
            query=(DRY_RUN,), headers=(IDEMPOTENCY_KEY,), body=self._linked,
            answers={201: LinkedAnswer(), 200: TriedLinkedAnswer()}, answer_headers=POSTED, errors=_REFUSALS,
        )
        yield Route(
            method="GET", path="/api/transfers/<transfer_id>", handler=self.find, scope="transfers:read",
            summary="One transfer", answers={200: TransferAnswer()}, errors=("not_found",),
        )

    def list(self, call: Call) -> Answer:
        """A page of transfers, newest first, of an account, with a reference, or of a stretch of time."""
        asked, given = page(call, self._cursors, "transfers", *(parameter.name for parameter in WANTED))
        wanted = replace(read_wanted(given), before=asked.position or GREATEST_ID)
        rows = self._transfers.list(call.ctx, call.ledger_id, wanted, limit=asked.limit + 1)
        return asked.answer(call.ctx, self._cursors, rows, show_transfer, wanted.position)

    def create(self, call: Call) -> Answer:
        """201 with the transfer; 200 when its key had posted it before, and for a dry run."""
        tried, values = is_dry_run(call), load(self._input, read_object(call.environ))
        request = _request(call, values, key=idempotency_key(call.environ), dry_run=tried)
        check_debits(call, (request,), ("from_account_id",))
        return answer_posted(call, self._positions, self._transfers.create(call.ctx, request))

    def create_linked(self, call: Call) -> Answer:
        """201 with the transfers, which are posted all or none; 200 as for one."""
        tried, values = is_dry_run(call), load(self._linked, read_object(call.environ))
        key = idempotency_key(call.environ)
        requests = [_request(call, each, key=key, dry_run=tried) for each in values["transfers"]]
        check_debits(call, requests, [f"transfers[{number}].from_account_id" for number in range(len(requests))])
        return answer_linked(call, self._positions, self._transfers.create_linked(call.ctx, link(requests)))

    def find(self, call: Call, transfer_id: str) -> Answer:
        """One transfer."""
        return Answer(show_transfer(self._transfers.find(call.ctx, call.ledger_id, path_id("transfer", transfer_id))))


def _request(call: Call, values: Mapping[str, Any], *, key: str | None, dry_run: bool) -> PostRequest:
    """What the body, or one of several in it, asks for."""
    fields = dict(values)
    kind: Kind = "hold" if fields.pop("hold") else "transfer"
    return PostRequest(
        ledger_id=call.ledger_id, key=key, kind=kind, dry_run=dry_run, trace_parent=call.trace_parent, **fields
    )
