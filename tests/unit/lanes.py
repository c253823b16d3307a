"""A posting lane for tests: a store over the model of the rules, faults to put into it, and callers in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from time import monotonic

from service.concurrency.context import Context
from service.errors import LedgerdError
from service.ledger.model import Model, ModelAccount
from service.ledger.posting import Posting
from service.ledger.transfers import Outcome, Posted, PostRequest, Refused, Transfer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


Lanes = Callable[..., Posting]


class ModelStore:
    """A BatchStore over the model, which a generated test ties to the database's function.

    `faults` are called one a batch, before it is applied; `after` are called when it has been.
    """

    def __init__(self) -> None:
        self.model = Model(accounts={(1, 1): ModelAccount("USD/2", min_balance=None), (1, 2): ModelAccount("USD/2")})
        self.batches: list[int] = []
        self.contexts: list[Context] = []
        self.faults: list[Callable[[Sequence[PostRequest]], None]] = []
        self.after: list[Callable[[Sequence[PostRequest]], None]] = []

    def post_batch(self, ctx: Context, requests: Sequence[PostRequest]) -> Sequence[Outcome]:
        """Apply the batch to the model."""
        self.batches.append(len(requests))
        self.contexts.append(ctx)
        if self.faults:
            self.faults.pop(0)(requests)
        outcomes = []
        for request, told in zip(requests, self.model.post(requests), strict=True):
            if told.row is None:
                code, field, *leg = told.verdict.split(" ")
                outcomes.append(Refused(code, field, int(leg[0]) if leg else None))
                continue
            row = self.model.log[told.row]
            transfer = Transfer(
                told.row, request.from_account_id, request.to_account_id, request.amount, row.asset, None, {},
                row.from_version, row.to_version, row.from_balance, row.to_balance, NOW,
            )
            outcomes.append(Posted(transfer, told.replayed, 1))
        if self.after:
            self.after.pop(0)(requests)
        return outcomes


def failing(error: Exception) -> Callable[[Sequence[PostRequest]], None]:
    """A fault that raises `error`."""

    def fault(_: Sequence[PostRequest]) -> None:
        raise error

    return fault


class Gate:
    """A fault that keeps the lane waiting until it is opened."""

    def __init__(self) -> None:
        self.reached, self._open = threading.Event(), threading.Event()

    def __call__(self, _: Sequence[PostRequest]) -> None:
        self.reached.set()
        assert self._open.wait(20)

    def open(self) -> None:
        self._open.set()


class Caller:
    """A thread that posts one request, or several together."""

    def __init__(self, lane: Posting, request: PostRequest | Sequence[PostRequest], ctx: Context) -> None:
        self.outcome: Outcome | None = None
        self.outcomes: Sequence[Outcome] = ()
        self.error: LedgerdError | None = None
        self.began_at = monotonic()
        self._thread = threading.Thread(target=self._post, args=(lane, request, ctx))
        self._thread.start()

    def _post(self, lane: Posting, request: PostRequest | Sequence[PostRequest], ctx: Context) -> None:
        try:
            if isinstance(request, PostRequest):
                self.outcome = lane.post(ctx, request)
            else:
                self.outcomes = lane.post_group(ctx, request)
        except LedgerdError as error:
            self.error = error

    def done(self) -> Caller:
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self


def move(amount: int = 1, key: str | None = None, source: int = 1, target: int = 2) -> PostRequest:
    """A transfer from the account without a floor."""
    return PostRequest(ledger_id=1, from_account_id=source, to_account_id=target, amount=amount, key=key)


def wait_for_waiting(lane: Posting, number: int) -> None:
    """Until `number` requests wait in the channel."""
    for _ in range(20_000):
        if lane._waiting.statistics().buffered >= number:
            return
        threading.Event().wait(0.001)
    raise AssertionError(f"{number} requests never waited: {lane._waiting.statistics()}")
