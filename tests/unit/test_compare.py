"""`make compare`: what wrk printed is read as it was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.compare.programs import BuildError, Program, build_peer
from tests.bench.compare.scenarios import SCENARIOS, bounds
from tests.bench.compare.wrk import Measured, read

PRINTED = """Running 1s test @ http://127.0.0.1:8080
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    19.12ms   18.95ms 196.05ms   92.27%
    Req/Sec     3.90k   596.45     4.77k    63.64%
  Latency Distribution
     50%  980.00us
     75%   19.89ms
     90%   32.62ms
     99%    1.20s
  4245 requests in 1.10s, 1.01MB read
Requests/sec:   3858.30
Transfer/sec:      0.92MB
"""


def test_wrk_s_figures_are_read_in_milliseconds() -> None:
    """Whatever unit wrk chose for each."""
    assert read(PRINTED) == Measured(per_s=3858.30, p50_ms=0.98, p99_ms=1200, failed=0, requests=4245)


def test_what_failed_is_counted_whether_it_was_answered_or_not() -> None:
    """Bad statuses, and connections that broke or timed out."""
    told = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n"
    assert read(PRINTED.replace("Requests/sec", told + "Requests/sec")).failed == 15


def test_a_bound_names_a_scenario() -> None:
    """A misspelt one would never be looked at."""
    assert bounds("uniform=1.5,users=2") == {"uniform": 1.5, "users": 2}
    with pytest.raises(ValueError, match="user"):
        bounds("user=2")


def test_the_load_is_told_all_it_reads() -> None:
    """load.lua asks the environment for these."""
    found = SCENARIOS["mixed"].environment(Program("Go", 1, {"ACCOUNTS": "1-9", "USERS": "1-9"}), 7)
    assert found == {"ACCOUNTS": "1-9", "USERS": "1-9", "READS": "50", "PICK": "uniform", "KEYED": "0", "SEED": "7"}


def test_a_compiler_that_fails_is_told_with_what_to_install(tmp_path: Path) -> None:
    """Neither the modules nor Debian's source could be built with it."""
    with pytest.raises(BuildError, match="golang-github-jackc-pgx-v4-dev"):
        build_peer("/bin/false", tmp_path)
    with pytest.raises(BuildError, match="golang-go"):
        build_peer("no-such-go", tmp_path)
