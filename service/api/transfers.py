"""/api/transfers: post a transfer, and read the log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from service.api.answers import TransferAnswer, TransferPage
from service.api.body import read_object
from service.api.calls import Answer, Call, page, path_id
from service.api.cursors import Cursors
from service.api.fields import whole
from service.api.filters import read_wanted
from service.api.parameters import MADE, PAGE, WANTED, WRITTEN
from service.api.positions import HEADER, Positions
from service.api.representation import show_transfer
from service.api.routes import Header, Parameter, Route
from service.api.schemas import TransferInput, load
from service.errors import FieldError, Forbidden, InvalidInput
from service.ledger.money import GREATEST_ID
from service.ledger.transfers import PostRequest, Transfers

_KEY = re.compile(r'"([ !#-~]{1,255})"|([!#-~]{1,255})')
_TRUE = {"const": "true"}
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", "1 to 255 printable ASCII characters, bare or in double quotes: one key, one effect, for ever",
    {"type": "string", "pattern": whole(_KEY), "examples": ["order-1001"]},
)


class TransferHandlers:
    """The handlers, with what they need."""

    def __init__(self, transfers: Transfers, cursors: Cursors) -> None:
        self._transfers = transfers
        self._cursors = cursors
        self._positions = Positions(cursors)
        self._input = TransferInput()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/transfers", handler=self.list, scope="transfers:read",
            summary="A page of transfers, newest first; of an account, with a reference, or of a stretch of time",
            query=(*PAGE, *WANTED), answers={200: TransferPage()},
        )
        yield Route(
            method="POST", path="/api/transfers", handler=self.create, scope="transfers:write",
            summary="Post a transfer; with an `Idempotency-Key`, once for ever", headers=(IDEMPOTENCY_KEY,),
            body=self._input, answers={201: TransferAnswer(), 200: TransferAnswer()},
            answer_headers=MADE | WRITTEN | {"Idempotency-Replayed": Header("its key had posted it", _TRUE, only=200)},
            errors=(
                "not_found", "version_mismatch", "insufficient_funds", "asset_mismatch", "account_closed", "account_frozen",
                "same_account", "limit_exceeded", "idempotency_key_reused", "overloaded",
            ),
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
        """201 with the transfer; 200 and `Idempotency-Replayed: true` when its key had posted it before."""
        values = load(self._input, read_object(call.environ))
        if not call.principal.may_debit(values["from_account_id"]):
            problem = FieldError("from_account_id", "this API key may not debit this account")
            raise Forbidden("This API key may debit some accounts only.", fields=(problem,))
        key = idempotency_key(call.environ)
        request = PostRequest(ledger_id=call.ledger_id, key=key, trace_parent=call.trace_parent, **values)
        posted = self._transfers.create(call.ctx, request)
        headers = {"Location": f"/api/transfers/{posted.transfer.id}", HEADER: self._positions.tell(call, posted.position)}
        if posted.replayed:
            return Answer(show_transfer(posted.transfer), 200, **headers, Idempotency_Replayed="true")
        return Answer(show_transfer(posted.transfer), 201, **headers)

    def find(self, call: Call, transfer_id: str) -> Answer:
        """One transfer."""
        return Answer(show_transfer(self._transfers.find(call.ctx, call.ledger_id, path_id("transfer", transfer_id))))


def idempotency_key(environ: Mapping[str, Any]) -> str | None:
    """The `Idempotency-Key`, quoted or bare, or None without one. Raises InvalidInput."""
    header = environ.get("HTTP_IDEMPOTENCY_KEY")
    if header is None:
        return None
    match = _KEY.fullmatch(header)
    if match is None:
        message = "expected 1 to 255 printable ASCII characters, bare without spaces or in double quotes"
        raise InvalidInput(f"Idempotency-Key: {message}.", fields=(FieldError("Idempotency-Key", message),))
    return match[1] or match[2]
