"""Semaphores: so many at once, in order, and no permit out of nothing."""

from __future__ import annotations

from random import Random

import pytest

from service.concurrency.context import background
from service.concurrency.semaphore import Semaphore
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler


def test_so_many_permits_and_no_more() -> None:
    """The next one is refused, or waits until its time is up."""
    clock, semaphore = ManualClock(), Semaphore(2)
    semaphore.acquire(background())
    assert semaphore.acquire_nowait()
    assert not semaphore.acquire_nowait()
    call = Call(semaphore.acquire, background(clock), timeout_s=1)
    clock.wait_for_pending(1)
    clock.advance(1)
    with pytest.raises(TimeoutError):
        call.result()
    semaphore.release()
    assert semaphore.acquire_nowait()


def test_a_release_too_many_is_an_error() -> None:
    """It would make a permit out of nothing."""
    with pytest.raises(RuntimeError, match="no permit is taken"):
        Semaphore(1).release()


def test_a_semaphore_without_permits_is_a_mistake() -> None:
    """Nobody could ever acquire it."""
    with pytest.raises(ValueError, match="not 0"):
        Semaphore(0)


def test_never_more_than_its_permits_in_any_interleaving() -> None:
    """Five holders of two permits; an error in a block gives the permit back too."""
    most: list[int] = []
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            semaphore, inside = Semaphore(2), []

            def hold(n: int, semaphore: Semaphore = semaphore, inside: list = inside) -> None:
                with semaphore.held(run.ctx):
                    inside.append(n)
                    most.append(len(inside))
                    run.step()
                    inside.remove(n)
                    if n == 0:
                        raise ValueError("in the block")

            tasks = [run.spawn(hold, n) for n in range(5)]
            run.until_done()
            assert [type(task.error) for task in tasks] == [ValueError] + [type(None)] * 4
            assert [semaphore.acquire_nowait() for _ in range(3)] == [True, True, False]
    assert max(most) == 2
