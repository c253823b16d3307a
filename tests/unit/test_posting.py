"""The posting lane on the model of the rules, with faults put between the two."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest

from service.concurrency.context import Context, background, with_timeout
from service.concurrency.spawn import Tasks
from service.errors import DeadlineExceeded, Internal, LedgerdError, OutcomeUnknown, Overloaded, Unavailable
from service.ledger import posting
from service.ledger.model import Model, ModelAccount
from service.ledger.posting import ConnectionLost, Contention, Posting
from service.ledger.transfers import Outcome, Posted, PostRequest, Refused, Transfer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class ModelStore:
    """A BatchStore over the model, which a generated test ties to the database's function.

    `faults` are called one a batch, before it is applied; `after` are called when it has been.
    """

    def __init__(self) -> None:
        self.model = Model(accounts={(1, 1): ModelAccount("USD/2", min_balance=None), (1, 2): ModelAccount("USD/2")})
        self.batches: list[int] = []
        self.faults: list[Callable[[Sequence[PostRequest]], None]] = []
        self.after: list[Callable[[Sequence[PostRequest]], None]] = []

    def post_batch(self, ctx: Context, requests: Sequence[PostRequest]) -> Sequence[Outcome]:
        """Apply the batch to the model."""
        self.batches.append(len(requests))
        if self.faults:
            self.faults.pop(0)(requests)
        outcomes = []
        for request, told in zip(requests, self.model.post(requests), strict=True):
            if told.row is None:
                outcomes.append(Refused(*told.verdict.split(" ")))
                continue
            row = self.model.log[told.row]
            transfer = Transfer(
                told.row, request.from_account_id, request.to_account_id, request.amount, row.asset, None, {},
                row.from_version, row.to_version, row.from_balance, row.to_balance, NOW,
            )
            outcomes.append(Posted(transfer, told.replayed))
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


@pytest.fixture
def store() -> ModelStore:
    """A store without faults."""
    return ModelStore()


@pytest.fixture
def lane(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Posting]:
    """A running lane with room for 4 that wait, whose pauses are short."""
    monkeypatch.setattr(posting, "BACKOFF_S", (0.001,) * 3)
    lane = Posting(store, capacity=4, attempt_timeout_s=5)
    tasks = Tasks(background())
    tasks.spawn("lane", lane.run_lane)
    yield lane
    lane.close()
    assert tasks.stop(10) == []


class Caller:
    """A thread that posts one request."""

    def __init__(self, lane: Posting, request: PostRequest, ctx: Context) -> None:
        self.outcome: Outcome | None = None
        self.error: LedgerdError | None = None
        self._thread = threading.Thread(target=self._post, args=(lane, request, ctx))
        self._thread.start()

    def _post(self, lane: Posting, request: PostRequest, ctx: Context) -> None:
        try:
            self.outcome = lane.post(ctx, request)
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
    while lane._waiting.statistics().buffered < number:
        threading.Event().wait(0.001)


def test_those_that_wait_together_are_one_batch(lane: Posting, store: ModelStore) -> None:
    """While one batch is at the database, the next gathers; each caller gets its own outcome."""
    gate = Gate()
    store.faults.append(gate)
    first = Caller(lane, move(100), background())
    assert gate.reached.wait(10)
    others = []
    for n, request in enumerate([move(1), move(500, source=2, target=1), move(2), move(3)]):
        others.append(Caller(lane, request, background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert isinstance(first.done().outcome, Posted)
    assert [type(caller.done().outcome) for caller in others] == [Posted, Refused, Posted, Posted]
    assert store.batches == [1, 4]


def test_a_full_channel_is_told_at_once(lane: Posting, store: ModelStore) -> None:
    """Overloaded with a time to come back; those accepted finish."""
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    for n in range(4):
        callers.append(Caller(lane, move(), background()))
        wait_for_waiting(lane, n + 1)
    with pytest.raises(Overloaded) as caught:
        lane.post(background(), move())
    assert caught.value.retry_after_s == 1
    gate.open()
    assert all(isinstance(caller.done().outcome, Posted) for caller in callers)


def test_what_waited_too_long_is_not_posted(lane: Posting, store: ModelStore) -> None:
    """A deadline that passes in the channel is DeadlineExceeded, and the request is dropped."""
    gate = Gate()
    store.faults.append(gate)
    first = Caller(lane, move(), background())
    assert gate.reached.wait(10)
    late = Caller(lane, move(7), with_timeout(background(), 0.02)).done()
    assert isinstance(late.error, DeadlineExceeded)
    gate.open()
    first.done()
    Caller(lane, move(), background()).done()
    assert [row.amount for row in store.model.log] == [1, 1]


def test_what_is_under_way_has_an_unknown_outcome(lane: Posting, store: ModelStore) -> None:
    """A deadline that passes while the batch is at the database is OutcomeUnknown; the same key tells afterwards."""
    gate = Gate()
    store.faults.append(gate)
    late = Caller(lane, move(7, "k"), with_timeout(background(), 0.05))
    assert gate.reached.wait(10)
    assert isinstance(late.done().error, OutcomeUnknown)
    gate.open()
    again = lane.post(background(), move(7, "k"))
    assert isinstance(again, Posted)
    assert again.replayed


def test_a_lost_connection_is_resolved_by_key(lane: Posting, store: ModelStore) -> None:
    """After a commit whose answer was lost, a keyed request learns its outcome; one without a key is told it is unknown."""
    store.after.append(failing(ConnectionLost()))
    outcome = lane.post(background(), move(5, "k"))
    assert isinstance(outcome, Posted)
    assert outcome.replayed
    store.after.append(failing(ConnectionLost()))
    with pytest.raises(OutcomeUnknown):
        lane.post(background(), move(6))
    assert [row.amount for row in store.model.log] == [5, 6]


def test_a_keyed_request_survives_an_outage_after_a_lost_connection(lane: Posting, store: ModelStore) -> None:
    """That the database cannot be reached meanwhile does not make an unknown outcome a certain one."""
    store.faults += [failing(ConnectionLost()), failing(Unavailable("down")), failing(Unavailable("down"))]
    assert isinstance(lane.post(background(), move(5, "k")), Posted)
    store.faults += [failing(ConnectionLost())] + [failing(Unavailable("down"))] * 9
    with pytest.raises(OutcomeUnknown):
        lane.post(background(), move(6, "k2"))


def test_an_outage_before_anything_was_sent_is_certain(lane: Posting, store: ModelStore) -> None:
    """Unavailable at the first attempt: nothing was posted, and it is not tried again behind the caller's back."""
    store.faults.append(failing(Unavailable("down")))
    with pytest.raises(Unavailable):
        lane.post(background(), move())
    assert store.batches == [1]
    assert store.model.log == []


def test_contention_repeats_the_whole_batch(lane: Posting, store: ModelStore) -> None:
    """Nothing was committed, so nothing is doubled; when it does not end, the caller is told that nothing was done."""
    store.faults += [failing(Contention()), failing(Contention())]
    assert isinstance(lane.post(background(), move(5)), Posted)
    store.faults += [failing(Contention())] * 4
    with pytest.raises(Unavailable):
        lane.post(background(), move(6))
    assert [row.amount for row in store.model.log] == [5]


def test_a_fault_hits_the_one_that_causes_it(lane: Posting, store: ModelStore) -> None:
    """A batch that fails as a whole is posted one by one: neighbours are posted, the culprit gets `internal`."""

    def poisoned(requests: Sequence[PostRequest]) -> None:
        if any(request.amount == 13 for request in requests):
            raise RuntimeError("thirteen")

    gate = Gate()
    store.faults += [gate, poisoned, poisoned, poisoned, poisoned]
    callers = [Caller(lane, move(1), background())]
    assert gate.reached.wait(10)
    for n, amount in enumerate([2, 13, 3]):
        callers.append(Caller(lane, move(amount), background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert [type(caller.done().error) for caller in callers] == [type(None), type(None), Internal, type(None)]
    assert sorted(row.amount for row in store.model.log) == [1, 2, 3]


def test_closing_posts_what_waits_and_refuses_the_rest(lane: Posting, store: ModelStore) -> None:
    """Nobody who was accepted is forgotten."""
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    callers.append(Caller(lane, move(), background()))
    wait_for_waiting(lane, 1)
    lane.close()
    with pytest.raises(Unavailable):
        lane.post(background(), move())
    gate.open()
    assert all(isinstance(caller.done().outcome, Posted) for caller in callers)
