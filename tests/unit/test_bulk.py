"""Chunks around the faults of a database: what is tried again, what is told, and that nothing is told wrongly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import pytest

from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.concurrency.group import Group
from service.errors import (
    ClientClosedRequest,
    DeadlineExceeded,
    IdempotencyKeyReused,
    Internal,
    LedgerdError,
    OutcomeUnknown,
    Unavailable,
)
from service.ledger import bulk as bulk_module
from service.ledger.bulk import Bulk, Chunk, Once, PostedChunk
from service.ledger.posting import AnswerLost, Contention
from service.ledger.transfers import Posted, PostRequest, Transfer

NOW = datetime(2026, 1, 31, tzinfo=UTC)
Step = Callable[[Context], None]


class Store:
    """Plays what is to happen at each attempt: an error, or something to do; afterwards all is posted."""

    def __init__(self, *steps: Exception | Step | None) -> None:
        self._steps = list(steps)
        self.posted: list[Chunk] = []
        self.attempts = 0
        self.is_awaited = False

    def encode(self, chunk: Chunk) -> Any:
        """It is the chunk."""
        return chunk

    def post_chunk(self, ctx: Context, chunk: Chunk, encoded: Any) -> PostedChunk:
        """The next step."""
        assert encoded is chunk
        self.attempts += 1
        step = self._steps.pop(0) if self._steps else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step(ctx)
        self.posted.append(chunk)
        made = (Transfer(n, 1, 2, 5, "USD/2", None, {}, 1, 1, -5, 5, NOW) for n, _ in enumerate(chunk.requests, 1))
        return PostedChunk([Posted(transfer, False, 1) for transfer in made], self.is_awaited)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits between two attempts."""
    monkeypatch.setattr(bulk_module, "BACKOFF_S", (0.0001, 0.0001, 0.0001))


def chunk(place: int = 0, *, named: bool = True, keys: Sequence[str | None] = (None, None)) -> Chunk:
    """Two transfers."""
    requests = [PostRequest(ledger_id=1, from_account_id=1, to_account_id=2, amount=5, key=key) for key in keys]
    return Chunk(1, requests, Once("bulk", "n", place, b"d" * 32) if named else None)


def post(store: Store, *chunks: Chunk, ctx: Context | None = None) -> int:
    """How many transfers got an outcome."""
    return sum(len(outcomes) for _, outcomes in Bulk(store, longest_s=10).post(ctx or background(), chunks))


@pytest.mark.parametrize("named", [True, False])
def test_contention_is_tried_again(named: bool) -> None:
    """Nothing was done."""
    store = Store(Contention(), Contention())
    assert post(store, chunk(named=named)) == 2
    assert store.attempts == 3


def test_contention_without_end_is_unavailable() -> None:
    """After as many attempts as there are pauses."""
    store = Store(*(Contention() for _ in range(9)))
    with pytest.raises(Unavailable):
        post(store, chunk())
    assert store.attempts == 4


@pytest.mark.parametrize(
    ("named", "keys", "safe"),
    [(True, (None, None), True), (False, ("a", "b"), True), (False, ("a", None), False), (False, (None, None), False)],
)
def test_a_lost_answer_is_asked_for_again_where_that_is_safe(
    named: bool, keys: Sequence[str | None], safe: bool
) -> None:
    """By the name of the chunk, or the key of each transfer; else it is not known what was posted."""
    store = Store(AnswerLost(), Unavailable("down"))
    if safe:
        assert post(store, chunk(named=named, keys=keys)) == 2
    else:
        with pytest.raises(OutcomeUnknown):
            post(store, chunk(named=named, keys=keys))
    assert store.attempts == (3 if safe else 1)


def test_an_answer_that_stays_lost_is_unknown() -> None:
    """Though the last attempts did nothing."""
    with pytest.raises(OutcomeUnknown):
        post(Store(AnswerLost(), *(Unavailable("down") for _ in range(9))), chunk())


@pytest.mark.parametrize("error", [Unavailable("down"), DeadlineExceeded("late"), Internal("broken"), ValueError("broken")])
def test_what_fails_before_anything_was_posted_is_told_as_it_is(error: Exception) -> None:
    """And is not tried again."""
    store = Store(error)
    with pytest.raises(type(error)):
        post(store, chunk(0), chunk(2), chunk(4))
    assert (store.attempts, store.posted) == (1, [])


@pytest.mark.parametrize("error", [Unavailable("down"), DeadlineExceeded("late"), Internal("broken")])
def test_what_fails_later_is_unknown_and_ends_it(error: LedgerdError) -> None:
    """A beginning was posted, and nothing behind the fault."""
    store = Store(None, error)
    with pytest.raises(OutcomeUnknown):
        post(store, chunk(0), chunk(2), chunk(4))
    assert (store.attempts, len(store.posted)) == (2, 1)


def test_a_name_that_is_spent_is_told() -> None:
    """As it is, wherever it is met."""
    for steps in ((), (None,)):
        with pytest.raises(IdempotencyKeyReused):
            post(Store(*steps, IdempotencyKeyReused("spent")), chunk(0), chunk(2))


def test_the_end_of_the_time_is_unknown_once_something_was_posted() -> None:
    """Also where the chunk at hand was posted when the time passed, and nobody took its outcomes."""

    def wait(ctx: Context) -> None:
        ctx.park(bulk_module.Parking(), 10)

    with with_timeout(background(), 0.05) as ctx, pytest.raises(OutcomeUnknown):
        post(Store(wait), chunk(0), chunk(2), ctx=ctx)


def test_a_client_that_leaves_is_told_nothing() -> None:
    """The log is, by its own code."""
    with with_cancel(background()) as ctx:
        store = Store(None, lambda _: ctx.cancel(ClientClosedRequest("left")))
        with pytest.raises(ClientClosedRequest):
            post(store, *(chunk(n) for n in range(0, 20, 2)), ctx=ctx)
    assert len(store.posted) == 2


def test_a_chunk_of_nothing_is_not_sent() -> None:
    """All lines of it were malformed, say."""
    store = Store()
    assert post(store, Chunk(1, []), chunk(2)) == 2
    assert store.attempts == 1


def test_chunks_of_a_process_take_turns() -> None:
    """Two requests at once have one chunk at the database."""
    running = [0, 0]

    def count(ctx: Context) -> None:
        running[0] += 1
        running[1] = max(running)
        ctx.park(bulk_module.Parking(), 0.001)  # the others have time to come in between
        running[0] -= 1

    shared = Bulk(Store(*(count for _ in range(40))), longest_s=10)
    with Group(background()) as group:
        for _ in range(4):
            group.spawn(lambda ctx: list(shared.post(ctx, [chunk(n) for n in range(0, 20, 2)])))
    assert running == [0, 1]


@pytest.mark.parametrize(
    ("source", "is_awaited", "do_others_post", "times"),
    [
        ("bulk", True, True, 1), ("bulk", True, False, 1), ("bulk", False, True, 0), ("bulk", False, False, 0),
        ("import", True, True, 2), ("import", True, False, 2), ("import", False, True, 2), ("import", False, False, 0),
    ],
)
def test_others_have_as_much_time_as_a_chunk_and_twice_as_much_of_an_import(
    monkeypatch: pytest.MonkeyPatch, source: Literal["bulk", "import"], is_awaited: bool, do_others_post: bool, times: int
) -> None:
    """Before the next chunk, so the last one is answered at once; less what has passed meanwhile, and within the longest."""
    now, pauses = 100.0, []

    def take(seconds: float) -> Step:
        def step(_ctx: Context) -> None:
            nonlocal now
            now += seconds

        return step

    store = Store(take(0.02), take(5.0), take(0.02))
    store.is_awaited = is_awaited
    bulk = Bulk(store, longest_s=10, do_others_post=lambda: do_others_post)
    monkeypatch.setattr(bulk_module, "monotonic", lambda: now)
    monkeypatch.setattr(Context, "park", lambda _self, _parking, seconds=None: pauses.append(seconds))
    for place in (0, 2, 4):
        made = replace(chunk(place), once=Once(source, "n", place, b"d" * 32))
        assert len(bulk._post(background(), made, made)) == 2
        now += 0.005
    expected = [pytest.approx(0.02 * times - 0.005), pytest.approx(bulk_module.LONGEST_PAUSE_S - 0.005)]
    assert pauses == (expected if times else [])
