"""The bench of live events (tests/bench/live), small: many clients, some of which do not read, and a restart in the middle."""

from __future__ import annotations

import pytest

from tests.bench.live.run import Options, run


@pytest.mark.slow
@pytest.mark.parametrize("accounts", [1, 3])
def test_a_restart_leaves_no_gap_and_tells_nothing_twice(database_url: str, accounts: int) -> None:
    """Over both kinds of stream, whether each client hears everything or one account of several."""
    report = run(
        Options(clients=80, stalled=0.1, rate=60, seconds=6, accounts=accounts), database_url,
    )
    assert (report.gaps, report.duplicates, report.unfinished) == (0, 0, 0), str(report)
    assert report.events > 100
    assert report.resumed >= 72
    assert set(report.endings) >= {"draining"}
