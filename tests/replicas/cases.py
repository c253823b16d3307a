"""A real server with two replicas, of which one becomes slow, dies or is behind while clients read: what they see of it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.repository.hedging import MOST_SAVED, SHARE
from tests.big_ledger import LEDGER
from tests.client import HttpClient
from tests.replicas.conftest import Standby
from tests.replicas.load import ReadLoad
from tests.serving import Serve, wait_until

WORKERS = 2
NEVER_S = "86400"  # the greatest delay of a hedge that there is
WARM_S = 1.0
SETTLED_S = 1.5  # losers have been cancelled, and the workers have told what they counted
HEAD = """\
| case | hedging | reads | p50 | p99 | hedged | failed | stale | left running |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Case:
    """What becomes of the first of the two replicas: before the load, in the middle of it, and after it."""

    begin: Callable[[Standby], None] = lambda _: None
    middle: Callable[[Standby], None] = lambda _: None
    end: Callable[[Standby], None] = lambda _: None
    dies: bool = False


@dataclass(frozen=True)
class Row:
    """What a case has come to."""

    case: str
    hedging: bool
    reads: int
    p50_ms: float
    p99_ms: float
    hedged_share: float
    too_many_hedges: int  # above a twentieth of the reads, and what a quiet time had saved
    failed: int
    stale: int
    left_running: int
    of_replicas: int  # reads that a replica was asked for first
    writes: int
    failures: tuple[str, ...]  # some of them

    def __str__(self) -> str:
        return (
            f"| {self.case} | {'on' if self.hedging else 'off'} | {self.reads:,} | {self.p50_ms:.1f} ms |"
            f" {self.p99_ms:.1f} ms | {100 * self.hedged_share:.1f} % | {self.failed} | {self.stale} | {self.left_running} |"
        )

    @property
    def is_right(self) -> bool:
        """Whether what must be 0 is."""
        return self.too_many_hedges == self.failed == self.stale == self.left_running == 0


def _slow(standby: Standby) -> None:
    standby.proxy.latency_s = 0.1  # each way


def _as_fast_as_before(standby: Standby) -> None:
    standby.proxy.latency_s = 0.0


def _kill(standby: Standby) -> None:
    assert standby.postgres.pid is not None
    os.kill(standby.postgres.pid, signal.SIGKILL)


def _start_again(standby: Standby) -> None:
    standby.postgres.stop()
    standby.postgres.start()


def _stay_behind(standby: Standby) -> None:
    standby.execute("ALTER SYSTEM SET recovery_min_apply_delay = '10s'")
    standby.execute("SELECT pg_reload_conf()")


def _catch_up(standby: Standby) -> None:
    standby.execute("ALTER SYSTEM RESET recovery_min_apply_delay")
    standby.execute("SELECT pg_reload_conf()")


CASES = {
    "both are well": Case(),
    "one answers 200 ms later": Case(begin=_slow, end=_as_fast_as_before),
    "one is killed half-way": Case(middle=_kill, end=_start_again, dies=True),
    "one is 10 s behind": Case(begin=_stay_behind, end=_catch_up),
}


@contextmanager
def following(database_url: str, standbys: list[Standby], *, hedging: bool) -> Iterator[Serve]:
    """A server of two workers that read from these replicas; or, not `hedging`, from another only where one fails."""
    settings = {} if hedging else {"LEDGERD_HEDGE_AFTER_S": NEVER_S}
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-replicas-"))
    try:
        with Serve(
            folder, DATABASE_URL=database_url, DATABASE_REPLICA_URLS=" ".join(standby.proxy.url for standby in standbys),
            LEDGERD_WORKERS=str(WORKERS), LEDGERD_LOG_LEVEL="error", LEDGERD_DB_MAX_OPEN="10", **settings,
        ) as served:
            served.wait_ready()
            wait_until(lambda: _reads_from_all(served, len(standbys)), 30)
            yield served
    finally:
        shutil.rmtree(folder)


def run(
    name: str, database_url: str, standbys: list[Standby], *, hedging: bool, accounts: int, seconds: float, reads: float
) -> Row:
    """The case of that name on the database that `fill` has filled, for so long, with so many `reads` a second."""
    case = CASES[name]
    with following(database_url, standbys, hedging=hedging) as served:
        key = served.key(ledger=LEDGER)
        with ReadLoad(served.port, key, accounts, reads=reads):
            time.sleep(WARM_S)
        time.sleep(SETTLED_S)
        before = _counted(served)
        case.begin(standbys[0])
        try:
            with ReadLoad(served.port, key, accounts, reads=reads) as load:
                time.sleep(seconds / 2)
                case.middle(standbys[0])
                time.sleep(seconds / 2)
            left = _left_running(standbys[1:] if case.dies else standbys)
        finally:
            case.end(standbys[0])
        asked, hedged = (now - then for now, then in zip(_counted(served), before, strict=True))
    seen, may_be = load.seen, asked * SHARE + WORKERS * MOST_SAVED if hedging else 0
    took_ms = sorted(1000 * second for second in seen.took_s)
    return Row(
        name, hedging, len(took_ms), took_ms[len(took_ms) // 2], took_ms[len(took_ms) * 99 // 100], hedged / max(asked, 1),
        int(max(hedged - may_be, 0)), len(seen.failed), seen.stale, left, int(asked), seen.writes, tuple(seen.failed[:5]),
    )


def _left_running(standbys: list[Standby]) -> int:
    """Statements that were begun before this call and still run SETTLED_S later."""
    moments = [standby.execute("SELECT clock_timestamp()::text")[0] for standby in standbys]
    time.sleep(SETTLED_S)
    query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ledgerd' AND state <> 'idle' AND query_start < '{}'"
    return sum(standby.execute(query.format(moment))[0] for standby, moment in zip(standbys, moments, strict=True))


def _reads_from_all(served: Serve, number: int) -> bool:
    found = _metrics(served)
    lags = [found.get(f"replica_lag_seconds replica {place}", float("inf")) for place in range(1, number + 1)]
    return found.get("workers") == WORKERS and max(lags) < 1


def _counted(served: Serve) -> tuple[float, float]:
    """Reads that were given to replicas, and hedges, by all workers as they have told them."""
    found = _metrics(served)
    return found["replica_reads_total"], found["hedged_reads_total"]


def _metrics(served: Serve) -> dict[str, float]:
    client = HttpClient(served.port, None)
    text = client.call("GET", "/metrics").body.decode()
    client.close()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {" ".join([s.name.removeprefix("ledgerd_"), *s.labels.values()]): s.value for s in samples}
