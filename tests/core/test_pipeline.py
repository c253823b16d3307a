"""Pipelines: values in order, errors that stop everything, and bounded memory."""

from __future__ import annotations

import operator
import threading
from collections.abc import Iterable, Iterator
from itertools import count, islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.concurrency.context import background, with_cancel, with_timeout
from service.concurrency.pipeline import Pipeline
from service.errors import ClientClosedRequest, DeadlineExceeded, NotFound
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler


def double(value: int) -> int:
    """A stage's work."""
    return value * 2


def pairs(values: Iterator[int]) -> Iterator[tuple[int, ...]]:
    """A transform: batches of two."""
    while batch := tuple(islice(values, 2)):
        yield batch


class Source:
    """A generator that notes how far it was read and that it was closed."""

    def __init__(self) -> None:
        self.read = 0
        self.closed = False

    def values(self) -> Iterator[int]:
        """Endless."""
        try:
            for n in count():
                self.read = n + 1
                yield n
        finally:
            self.closed = True


def test_values_pass_every_stage_in_order() -> None:
    """From a source through a stage and a transform to a sink."""
    posted: list[tuple[int, ...]] = []
    with Pipeline(background()) as line:
        line.sink(line.transform(line.stage(line.generate(range(5)), double), pairs), posted.append)
    assert posted == [(0, 2), (4, 6), (8,)]


@pytest.mark.parametrize("workers", [1, 3])
def test_ordered_fan_out_keeps_the_order(workers: int) -> None:
    """Though the workers take turns as they like."""
    with Pipeline(background(), capacity=4) as line:
        assert list(line.results(line.stage(line.generate(range(200)), double, workers=workers, ordered=True))) == [
            n * 2 for n in range(200)
        ]


def test_unordered_fan_out_loses_nothing() -> None:
    """Each value once, and a slow one holds up nobody else."""
    with Pipeline(background()) as line:
        gate = threading.Event()

        def work(n: int) -> int:
            if n == 0:
                assert gate.wait(20)
            return n

        results = line.results(line.stage(line.generate(range(20)), work, workers=2))
        first = [next(results) for _ in range(19)]
        gate.set()
        assert 0 not in first
        assert sorted([*first, *results]) == list(range(20))


def test_merging_keeps_the_order_of_each_source() -> None:
    """And ends when all of them have."""
    with Pipeline(background()) as line:
        merged = list(line.results(line.merge(line.generate(range(50)), line.generate(range(100, 150)))))
    assert [n for n in merged if n < 100] == list(range(50))
    assert [n for n in merged if n >= 100] == list(range(100, 150))


def test_an_error_stops_every_stage_and_is_raised() -> None:
    """Wherever it happens; the source is closed, and no stage sees an end that is none."""
    for place in ("source", "stage", "fan-out", "ordered", "transform", "sink"):
        source, complete = Source(), []

        def broken(value: object, place: str = place) -> object:
            if value == 100:
                raise NotFound(place)
            return value

        def total(values: Iterable[int], complete: list[str] = complete) -> Iterator[int]:
            yield sum(values)
            complete.append("it came to an end")

        def read(source: Source = source, place: str = place) -> Iterator[int]:
            for n in source.values():
                yield broken(n) if place == "source" else n  # type: ignore[misc]

        with pytest.raises(NotFound, match=place), Pipeline(background(), capacity=8) as line:
            rows = line.generate(read())
            if place in ("stage", "fan-out", "ordered"):
                rows = line.stage(rows, broken, workers=1 if place == "stage" else 3, ordered=place == "ordered")
            if place == "transform":
                rows = line.transform(rows, lambda values: map(broken, values))
            if place == "sink":
                line.sink(rows, broken)
            else:
                line.sink(line.transform(rows, total), complete.append)
        assert source.closed
        assert complete == []


def test_the_end_of_the_context_stops_every_stage() -> None:
    """Its error is raised."""
    source, ctx = Source(), with_cancel(background())
    with pytest.raises(ClientClosedRequest), Pipeline(ctx) as line:
        line.sink(line.generate(source.values()), lambda n: ctx.cancel() if n == 1000 else None)
    assert source.closed
    clock = ManualClock()
    with pytest.raises(DeadlineExceeded), Pipeline(with_timeout(background(clock), 5)) as line:
        line.sink(line.generate(source.values()), lambda n: clock.advance(5) if n == 10 else None)


def test_an_error_in_the_block_stops_every_stage() -> None:
    """It is raised, and nothing is left running."""
    source = Source()
    with pytest.raises(ValueError, match="in the block"), Pipeline(background()) as line:
        for n in line.results(line.generate(source.values())):
            if n == 10:
                raise ValueError("in the block")
    assert source.closed


def test_a_consumer_may_leave_early() -> None:
    """The pipeline stops quietly, and the source is closed."""
    source = Source()
    with Pipeline(background()) as line:
        first = list(islice(line.results(line.stage(line.generate(source.values()), double)), 3))
    assert first == [0, 2, 4]
    assert source.closed


def test_an_output_that_nobody_takes_is_an_error() -> None:
    """It would wait for ever; the error names the stage and says what is missing."""
    with pytest.raises(RuntimeError, match="nobody takes what these send: stage double; give each to"), \
            Pipeline(background()) as line:
        line.stage(line.generate(range(1000)), double)


def test_memory_is_bounded() -> None:
    """A slow sink holds up the source: what is between them is at most two channels and two batches."""
    source, far = Source(), []
    with Pipeline(background(), capacity=10) as line:

        def note(n: int) -> None:
            far.append(source.read - n)

        rows = line.results(line.stage(line.generate(source.values()), double))
        for n in islice(rows, 500):
            note(n // 2)
    assert max(far) <= 4 * 10 + 3


def test_ordered_fan_out_is_bounded_too() -> None:
    """One slow value lets the others run ahead by no more than the capacity and the workers."""
    source, gate, done = Source(), threading.Event(), []

    def work(n: int) -> int:
        if n == 0:
            assert gate.wait(20)
        done.append(n)
        return n

    with Pipeline(background(), capacity=5) as line:
        results = line.results(line.stage(line.generate(source.values()), work, workers=3, ordered=True))
        threading.Timer(0.05, gate.set).start()
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        assert source.read <= 5 * 6
    assert source.closed


def test_settings_that_make_no_sense_are_refused() -> None:
    """No workers, no room."""
    with pytest.raises(ValueError, match="at least one value"):
        Pipeline(background(), capacity=0)
    with pytest.raises(ValueError, match="at least one worker"), Pipeline(background()) as line:
        line.stage(line.generate([1]), double, workers=0)
    with pytest.raises(ValueError, match="at least one source"), Pipeline(background()) as line:
        line.merge()


@given(values=st.lists(st.integers(), max_size=60), workers=st.integers(1, 4), capacity=st.integers(1, 5))
def test_an_ordered_stage_is_map(values: list[int], workers: int, capacity: int) -> None:
    """Whatever goes in, with any number of workers and any room."""
    with Pipeline(background(), capacity=capacity) as line:
        out = line.results(line.stage(line.generate(values), operator.neg, workers=workers, ordered=True))
        assert list(out) == [-value for value in values]


@pytest.mark.parametrize("ordered", [True, False])
def test_an_error_at_any_moment_leaves_nobody_behind(ordered: bool) -> None:
    """In 150 interleavings of a fan-out in which one value fails: the error is raised, and nobody waits for ever."""
    for seed in range(150):
        with Scheduler(Random(seed).randrange) as run:
            fails_at, sunk = seed % 12, []

            def work(n: int, fails_at: int = fails_at) -> int:
                if n == fails_at:
                    raise NotFound("it")
                return n

            def whole(work: object = work, sunk: list[int] = sunk) -> None:
                with Pipeline(run.ctx, capacity=2) as line:
                    line.sink(line.stage(line.generate(range(8)), work, workers=2, ordered=ordered), sunk.append)

            task = run.spawn(whole)
            run.until_done()
            if fails_at < 8:
                assert isinstance(task.error, NotFound)
                assert fails_at not in sunk
            else:
                task.result()
                assert sorted(sunk) == list(range(8))
                assert not ordered or sunk == list(range(8))


def test_a_transform_that_ends_before_its_input_is_an_error() -> None:
    """Whoever sends it the rest would wait for ever; one that takes all and does not look for the end is right."""
    with pytest.raises(RuntimeError, match="transform <lambda> ended before its input did: it must read to the end"), \
            Pipeline(background(), capacity=4) as line:
        line.sink(line.transform(line.generate(range(100)), lambda values: islice(values, 3)), lambda _: None)
    taken: list[int] = []
    with Pipeline(background(), capacity=4) as line:
        line.sink(line.transform(line.generate(range(3)), lambda values: islice(values, 3)), taken.append)
    assert taken == [0, 1, 2]


@pytest.mark.parametrize("place", ["stage", "fan-out", "ordered", "sink"])
def test_a_stop_iteration_that_escapes_is_an_error(place: str) -> None:
    """It does not look like the end of the values."""

    def work(n: int) -> int:
        return next(iter(())) if n == 3 else n

    with pytest.raises((RuntimeError, StopIteration)), Pipeline(background(), capacity=4) as line:
        values = line.generate(range(8))
        if place == "sink":
            line.sink(values, work)
        else:
            line.sink(
                line.stage(values, work, workers=1 if place == "stage" else 2, ordered=place == "ordered"), lambda _: None
            )


def test_who_has_taken_the_last_result_has_not_left_early() -> None:
    """Though nobody has looked whether more would come: the other branches run to their end, in any interleaving."""
    for seed in range(50):
        with Scheduler(Random(seed).randrange) as run:
            sunk: list[int] = []

            def whole(sunk: list[int] = sunk, run: Scheduler = run) -> None:
                with Pipeline(run.ctx, capacity=2) as line:
                    line.sink(line.generate(range(20)), sunk.append)
                    out = line.results(line.generate(range(3)))
                    assert [next(out) for _ in range(3)] == [0, 1, 2]

            task = run.spawn(whole)
            run.until_done()
            task.result()
            assert sunk == list(range(20))


def test_a_cancelled_stage_does_not_go_on_with_its_batch() -> None:
    """The values that it has taken already are dropped."""
    for seed in range(50):
        with Scheduler(Random(seed).randrange) as run:
            sunk: list[int] = []

            def whole(sunk: list[int] = sunk, run: Scheduler = run) -> None:
                with Pipeline(run.ctx, capacity=8) as line:

                    def work(n: int) -> None:
                        sunk.append(n)
                        for _ in range(20):
                            run.step()
                        if n == 3:
                            line.ctx.cancel()

                    line.sink(line.generate(range(16)), work)

            task = run.spawn(whole)
            run.until_done()
            assert isinstance(task.error, ClientClosedRequest)
            assert sunk == [0, 1, 2, 3]


def test_an_ordered_stage_runs_ahead_no_further_than_its_capacity() -> None:
    """While the first value is worked on: the promises that wait, a batch of them, and what the workers have."""
    with Scheduler(Random(0).randrange) as run:
        source, done = Source(), []

        def work(n: int) -> int:
            if n == 0:
                run.ctx.done.wait(5)
            done.append(n)
            return n

        def whole() -> None:
            with Pipeline(run.ctx, capacity=4) as line:
                out = line.results(line.stage(line.generate(source.values()), work, workers=2, ordered=True))
                assert next(out) == 0

        task = run.spawn(whole)
        run.until_parked()
        assert 0 not in done
        assert len(done) <= 4 + 4 + 2
        run.until_done()
        task.result()
