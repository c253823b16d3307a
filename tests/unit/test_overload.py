"""What overload is judged by."""

from __future__ import annotations

from argparse import Namespace

from tests.bench.overload import Seen, judge, read

BOUNDS = Namespace(goodput=0.9, refusal_ms=10)
PRINTED = {
    "by_status": {
        "201": {"number": 900, "p50_ms": 20.0, "p99_ms": 80.0},
        "429": {"number": 10, "p50_ms": 1.0, "p99_ms": 2.0},
        "503": {"number": 3_990, "p50_ms": 3.0, "p99_ms": 9.0},
        "504": {"number": 2, "p50_ms": 30.0, "p99_ms": 31.0},
    },
    "lost": 1,
    "seconds": 2,
}


def test_refusals_are_told_from_what_went_wrong() -> None:
    """429 and 503 are refusals, timed by those of which there are more; 504 and no answer are failures."""
    seen = read(PRINTED, 5_000)
    assert (seen.offered, seen.done, seen.refused, seen.failed) == (5_000, 450, 2_000, 3)
    assert (seen.done_p99_ms, seen.refused_p99_ms) == (80.0, 9.0)


def test_without_a_rate_what_was_answered_was_offered() -> None:
    """Clients that wait offer no more than they get."""
    assert read({"by_status": {"201": {"number": 9, "p50_ms": 1.0, "p99_ms": 1.0}}, "lost": 0, "seconds": 3}, 0).offered == 3


def test_overload_passes_when_work_goes_on_and_refusals_are_quick() -> None:
    """Nine tenths are enough."""
    assert judge(500, Seen(2_500, 450, 2_000, 0, 20, 80, 3, 9), BOUNDS) == []


def test_each_bound_that_overload_broke_is_told() -> None:
    """Less done, late refusals, failures."""
    found = judge(501, Seen(2_500, 450, 2_000, 3, 20, 80, 3, 10), BOUNDS)
    assert [line.split()[0] for line in found] == ["450", "99", "3"]
