"""Free lists: buffers are used again, and never by two at once."""

from __future__ import annotations

from random import Random

import pytest

from service.concurrency.freelist import FreeList
from tests.core.scheduler import Scheduler


def test_what_was_given_back_is_used_again() -> None:
    """The oldest first; without any a new one is made."""
    buffers = FreeList(bytearray, 2)
    one, two = buffers.take(), buffers.take()
    assert one is not two
    buffers.give(one)
    buffers.give(two)
    assert [buffers.take() is one, buffers.take() is two] == [True, True]


def test_what_does_not_fit_is_let_go() -> None:
    """The list leaks rather than grows or waits."""
    buffers = FreeList(bytearray, 1)
    kept, lost = bytearray(), bytearray()
    buffers.give(kept)
    buffers.give(lost)
    assert buffers.take() is kept
    assert buffers.take() is not lost


def test_a_block_gives_its_buffer_back() -> None:
    """Unless it fails: then somebody may hold it still."""
    buffers = FreeList(bytearray, 2)
    with buffers.borrowed() as one:
        pass
    with pytest.raises(ValueError, match="any"), buffers.borrowed() as again:
        raise ValueError("any")
    assert again is one
    assert buffers.take() is not one


def test_a_list_of_nothing_is_a_mistake() -> None:
    """It could keep none."""
    with pytest.raises(ValueError, match="not 0"):
        FreeList(bytearray, 0)


def test_no_two_holders_share_a_buffer_in_any_interleaving() -> None:
    """Four that take and give back, with room for two."""
    for seed in range(200):
        with Scheduler(Random(seed).randrange) as run:
            buffers, held = FreeList(bytearray, 2), []

            def hold(held: list[int] = held, buffers: FreeList[bytearray] = buffers) -> None:
                for _ in range(3):
                    with buffers.borrowed() as buffer:
                        assert id(buffer) not in held
                        held.append(id(buffer))
                        run.step()
                        held.remove(id(buffer))

            for _ in range(4):
                run.spawn(hold)
            run.until_done()
            for task in run.tasks:
                task.result()
