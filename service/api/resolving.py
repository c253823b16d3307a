"""/api/transfers/{id}/capture, /release and /reverse: what is done to a hold, or to a transfer, is another row of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.api.answers import TransferAnswer
from service.api.body import read_object
from service.api.calls import Answer, Call, path_id
from service.api.cursors import Cursors
from service.api.positions import Positions
from service.api.posting import (
    DRY_RUN,
    IDEMPOTENCY_KEY,
    POSTED,
    answer_posted,
    check_debits,
    idempotency_key,
    is_dry_run,
)
from service.api.posting_answers import TriedTransferAnswer
from service.api.routes import Route
from service.api.schemas import CaptureInput, ResolutionInput, load
from service.ledger.transfers import PostRequest, Transfer, Transfers, capture_of, release_of, reversal_of

_OF_A_HOLD = ("not_found", "not_a_hold", "hold_resolved")
_OF_ACCOUNTS = ("account_closed", "account_frozen", "limit_exceeded")
_OF_ALL = ("idempotency_key_reused", "overloaded")


class ResolvingHandlers:
    """The handlers, with what they need."""

    def __init__(self, transfers: Transfers, cursors: Cursors) -> None:
        self._transfers = transfers
        self._positions = Positions(cursors)
        self._capture = CaptureInput()
        self._resolution = ResolutionInput()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield self._route(
            "/api/transfers/<hold_id>/capture", self.capture, self._capture, (*_OF_A_HOLD, *_OF_ACCOUNTS, *_OF_ALL),
            "Move what a hold has set aside, or a part of it; the rest is given back",
        )
        yield self._route(
            "/api/transfers/<hold_id>/release", self.release, self._resolution, (*_OF_A_HOLD, *_OF_ALL),
            "Give back what a hold has set aside",
        )
        yield self._route(
            "/api/transfers/<transfer_id>/reverse", self.reverse, self._resolution,
            ("not_found", "not_reversible", "already_reversed", *_OF_ACCOUNTS, "insufficient_funds", *_OF_ALL),
            "Move the whole amount of a transfer or a capture back",
        )

    @staticmethod
    def _route(
        path: str, handler: Callable[..., Answer], body: ResolutionInput, errors: tuple[str, ...], summary: str
    ) -> Route:
        return Route(
            method="POST", path=path, handler=handler, scope="transfers:write", summary=summary, body=body,
            query=(DRY_RUN,), headers=(IDEMPOTENCY_KEY,), answers={201: TransferAnswer(), 200: TriedTransferAnswer()},
            answer_headers=POSTED, errors=errors,
        )

    def capture(self, call: Call, hold_id: str) -> Answer:
        """201 with the capture; 200 when its key had posted it before, and for a dry run."""
        return self._post(call, "hold_id", path_id("hold", hold_id), self._capture, capture_of)

    def release(self, call: Call, hold_id: str) -> Answer:
        """201 with the release; 200 likewise."""
        return self._post(call, "hold_id", path_id("hold", hold_id), self._resolution, release_of)

    def reverse(self, call: Call, transfer_id: str) -> Answer:
        """201 with the reversal; 200 likewise."""
        return self._post(call, "transfer_id", path_id("transfer", transfer_id), self._resolution, reversal_of)

    def _post(
        self, call: Call, name: str, original_id: int, schema: ResolutionInput, made_of: Callable[..., PostRequest]
    ) -> Answer:
        tried, values = is_dry_run(call), load(schema, read_object(call.environ))
        key = idempotency_key(call.environ)
        original: Transfer = self._transfers.find_original(call.ctx, call.ledger_id, original_id)
        request = made_of(
            call.ledger_id, original, key=key, dry_run=tried, trace_parent=call.trace_parent, **values
        )
        check_debits(call, (request,), (name,))
        return answer_posted(call, self._positions, self._transfers.create(call.ctx, request))
