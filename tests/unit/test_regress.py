"""`make regress`: when a change costs more than its parent."""

from __future__ import annotations

import os
import time

from tests.bench.regress.cases import processor_ns
from tests.bench.regress.verdict import Measurements, accepted, ratios, table, too_dear


def measured(**us: list[float]) -> Measurements:
    """Measurements by case."""
    found = Measurements()
    for what, values in us.items():
        for value in values:
            found.keep(what, value)
    return found


def test_a_few_disturbed_measurements_do_not_count() -> None:
    """Half of them may be as bad as they like."""
    quiet, disturbed = [100.0] * 100, [100.0] * 50 + [1_000.0] * 50
    assert ratios(measured(read=quiet), measured(read=disturbed)) == {"read": 1.0}


def test_a_cost_above_the_bound_is_told_and_no_other() -> None:
    """Eleven per cent more is too much, nine are not."""
    parent, change = measured(read=[100.0] * 8, post=[100.0] * 8), measured(read=[111.0] * 8, post=[109.0] * 8)
    assert too_dear(parent, change, 1.10) == {"read": 1.11}
    assert "read " in table(parent, change)


def test_what_takes_no_time_has_no_ratio() -> None:
    """PostgreSQL has nothing to do for a read of a kept user."""
    assert ratios(measured(read=[0.0, 0.1]), measured(read=[0.0, 2.0])) == {}


def test_what_is_dearer_on_purpose_is_told_with_its_reason() -> None:
    """A line without one accepts nothing."""
    messages = "Seal each transfer\n\nDearer: post a transfer: each is sealed\nDearer: read a balance\n\nSay nothing"
    assert accepted(messages) == {"post a transfer": "each is sealed"}


def test_a_process_s_processor_time_is_that_of_its_own_clock() -> None:
    """The kernel knows it of other processes by a number that is made from their id."""
    before = time.process_time_ns()
    seen = processor_ns(os.getpid())
    assert before <= seen <= time.process_time_ns()
