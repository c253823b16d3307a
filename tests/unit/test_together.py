"""Lookups that are wanted at the same time are one, and each gets its own answer or error, and no older one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Semaphore, Thread

import pytest

from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.errors import DeadlineExceeded, Internal, LedgerdError, Overloaded, Unavailable
from service.ledger.together import MOST_AT_ONCE, Together
from tests.serving import wait_until

PATIENCE_S = 10.0


class Database:
    """Finds the square of each even number, and waits for `free` before each answer."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.free = Semaphore(0)
        self.error: Exception | None = None

    def look_up(self, ctx: Context, keys: Sequence[int]) -> Mapping[int, int]:
        """As a repository."""
        self.asked.append(list(keys))
        self.free.acquire(timeout=PATIENCE_S)
        ctx.check()
        if self.error is not None:
            raise self.error
        return {key: key * key for key in keys if key % 2 == 0}


class World:
    """A `Together` with one lane, and callers."""

    def __init__(self, capacity: int = 1000) -> None:
        self.database = Database()
        self.together: Together[int, int] = Together(self.database.look_up, capacity=capacity, longest_s=PATIENCE_S)
        self.answers: dict[int, int | LedgerdError | None] = {}
        self._threads = [self._start(lambda: self.together.run_lane(background()))]

    def ask(self, number: int, key: int, ctx: Context | None = None) -> None:
        """In a thread of its own; the answer is found under `number`."""

        def call() -> None:
            try:
                self.answers[number] = self.together.find(ctx or background(), key)
            except LedgerdError as error:
                self.answers[number] = error

        self._threads.append(self._start(call))

    def wait_for_answers(self, number: int) -> None:
        """Until so many are there."""
        wait_until(lambda: len(self.answers) >= number, PATIENCE_S)

    def end(self) -> None:
        """Join all of them."""
        self.together.close()
        self.database.free.release(100)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    @staticmethod
    def _start(body: Callable[[], None]) -> Thread:
        thread = Thread(target=body, daemon=True)
        thread.start()
        return thread

    def occupy(self) -> None:
        """One question is at the database, alone."""
        self.ask(-1, 0)
        wait_until(lambda: self.database.asked == [[0]], PATIENCE_S)


def test_those_who_wait_are_answered_by_one_query() -> None:
    """Each key once; what is not there is None; and a question that comes while a query runs is not answered by it."""
    world = World()
    world.occupy()
    for number in range(20):
        world.ask(number, number % 5)
    wait_until(lambda: world.together._waiting.statistics().buffered == 20, PATIENCE_S)
    world.database.free.release(2)
    world.wait_for_answers(21)
    world.end()
    assert len(world.database.asked) == 2
    assert sorted(world.database.asked[1]) == [0, 1, 2, 3, 4]
    assert [world.answers[number] for number in range(5)] == [0, None, 4, None, 16]
    assert all(world.answers[number] == world.answers[number % 5] for number in range(20))


def test_a_query_has_a_bound() -> None:
    """The others are in the next."""
    world = World()
    world.occupy()
    for number in range(MOST_AT_ONCE + 5):
        world.ask(number, number)
    wait_until(lambda: world.together._waiting.statistics().buffered == MOST_AT_ONCE + 5, PATIENCE_S)
    world.database.free.release(3)
    world.wait_for_answers(MOST_AT_ONCE + 6)
    world.end()
    assert [len(keys) for keys in world.database.asked] == [1, MOST_AT_ONCE, 5]


@pytest.mark.parametrize(
    ("error", "told"),
    [(Unavailable("down"), "unavailable"), (DeadlineExceeded("late"), "deadline_exceeded"), (KeyError("x"), "internal")],
)
def test_an_error_is_everybodys(error: Exception, told: str) -> None:
    """One of ours as it is, with a trace of its own for each; another tells nothing. The lane goes on."""
    world = World()
    world.occupy()
    world.database.error = error
    for number in (1, 2):
        world.ask(number, number)
    wait_until(lambda: world.together._waiting.statistics().buffered == 2, PATIENCE_S)
    world.database.free.release(2)
    world.wait_for_answers(3)
    first, second = world.answers[1], world.answers[2]
    assert isinstance(first, LedgerdError)
    assert isinstance(second, LedgerdError)
    assert first is not second
    assert (first.code, second.code) == (told, told)
    assert isinstance(first, Internal) == (told == "internal")
    world.end()


def test_a_caller_whose_time_is_up_leaves() -> None:
    """And is not looked up any more when its turn comes."""
    world = World()
    world.occupy()
    with with_timeout(background(), 0.05) as late, with_cancel(background()) as gone:
        world.ask(1, 2, late)
        world.ask(2, 4, gone)
        wait_until(lambda: 1 in world.answers, PATIENCE_S)
        gone.cancel(Unavailable("the client has gone"))
        wait_until(lambda: 2 in world.answers, PATIENCE_S)
    assert isinstance(world.answers[1], DeadlineExceeded)
    assert isinstance(world.answers[2], Unavailable)
    world.end()
    assert world.database.asked == [[0]]


def test_a_query_that_nobody_wants_ends() -> None:
    """When the last of those who wait for it leaves, and not before."""
    world = World()
    ended: list[bool] = []
    with with_cancel(background()) as first, with_cancel(background()) as second:

        def look_up(ctx: Context, keys: Sequence[int]) -> Mapping[int, int]:
            world.database.asked.append(list(keys))
            if keys != [0]:
                ended.append(ctx.done.wait(PATIENCE_S))
            else:
                world.database.free.acquire(timeout=PATIENCE_S)
            ctx.check()
            return {}

        world.together._look_up = look_up
        world.occupy()
        world.ask(1, 2, first)
        world.ask(2, 4, second)
        wait_until(lambda: world.together._waiting.statistics().buffered == 2, PATIENCE_S)
        world.database.free.release()
        wait_until(lambda: len(world.database.asked) == 2, PATIENCE_S)
        first.cancel()
        wait_until(lambda: 1 in world.answers, PATIENCE_S)
        assert ended == []
        second.cancel()
        wait_until(lambda: ended == [True], PATIENCE_S)
    world.end()


def test_what_may_wait_is_bounded() -> None:
    """Then it says so at once; after the end too."""
    world = World(capacity=2)
    world.occupy()
    world.ask(1, 2)
    world.ask(2, 4)
    wait_until(lambda: world.together._waiting.statistics().buffered == 2, PATIENCE_S)
    with pytest.raises(Overloaded):
        world.together.find(background(), 6)
    world.end()
    world.wait_for_answers(3)
    with pytest.raises(Unavailable):
        world.together.find(background(), 6)
