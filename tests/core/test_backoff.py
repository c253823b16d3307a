"""Pauses between attempts: doubled, and bounded however long it goes on."""

from __future__ import annotations

import pytest

from service.concurrency.backoff import backoff_s


@pytest.mark.parametrize(
    ("failures", "pause_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (1_025, 30.0), (10**6, 30.0)]
)
def test_a_pause_doubles_up_to_its_bound(failures: int, pause_s: float) -> None:
    """And no number of failures is too many."""
    assert backoff_s(failures, first_s=0.5, longest_s=30.0) == pause_s
