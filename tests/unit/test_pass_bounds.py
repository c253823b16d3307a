"""When a load passes, and what a process's memory may do meanwhile."""

from __future__ import annotations

import os

from tests.bench.pass_bounds import Bound, Operation, Step, broken, broken_by_ramp, lenient
from tests.bench.resident import Watched, resident_mib

GOOD = Operation(number=1_000, failed=0, per_s=10, p50_ms=20, p99_ms=90)


def test_a_load_within_its_bounds_passes() -> None:
    """At a bound is within it."""
    assert broken({"pay": Bound(p50_ms=20, p99_ms=90, least_per_s=10)}, {"pay": GOOD}) == []


def test_each_bound_that_was_not_kept_is_told() -> None:
    """Too slow in the middle and at the end, too many failures, too few requests."""
    found = broken({"pay": Bound(p50_ms=10, p99_ms=50, least_per_s=11)}, {"pay": Operation(100, 1, 10, 20, 90)})
    assert [line.split(": ")[0] for line in found] == ["pay"] * 4


def test_leniently_only_failures_count() -> None:
    """How fast a busy machine is says nothing, nor what it did not come to."""
    bounds = lenient({"pay": Bound(p50_ms=1, p99_ms=1, least_per_s=1_000), "look": Bound()})
    found = broken(bounds, {"pay": Operation(100, 1, 10, 20, 90)})
    assert found == ["pay: 1 of 100 failed; the bound is 0.0%"]


def test_an_operation_that_never_happened_does_not_pass() -> None:
    """Be it one of several, or all."""
    assert broken({"pay": Bound()}, {"look": GOOD}) == ["pay: 0.0 a second are fewer than 0.1"]
    assert broken({"pay": Bound(least_per_s=0)}, {}) == ["no request was made"]


def test_a_ramp_passes_when_overload_costs_little_and_refusals_are_quick() -> None:
    """The last step does nearly what the best one did."""
    steps = [Step(10, 10, 500, (), 0), Step(20, 10, 1_000, (), 0), Step(40, 10, 900, (5.0, 9.0), 0)]
    assert broken_by_ramp(steps, goodput=0.9, refusal_ms=10) == []


def test_a_ramp_that_collapses_or_refuses_late_or_fails_is_told() -> None:
    """All three at once."""
    steps = [Step(10, 10, 1_000, (), 0), Step(20, 10, 890, (11.0,), 3)]
    assert len(broken_by_ramp(steps, goodput=0.9, refusal_ms=10)) == 3
    assert broken_by_ramp(steps[:1], goodput=0.9, refusal_ms=10) == ["the ramp had fewer than two steps"]


def test_a_process_that_grows_is_told() -> None:
    """By over a tenth, from when it was warm."""
    with Watched([os.getpid()]) as watched:
        pass
    assert abs(watched.samples[os.getpid()][0] - resident_mib(os.getpid())) < 20
    watched.samples = {1: [50.0] * 10, 2: [30.0, 60.0, 60.0, 60.0, 61.0], 3: [50.0, 60.0, 70.0, 80.0, 90.0]}
    assert watched.grown() == ["process 3 grew from 60.0 to 90.0 MiB"]
