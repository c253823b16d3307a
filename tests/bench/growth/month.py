"""A month of changes in miniature: do the tables stay as small as autovacuum can keep them?"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import psycopg

from tests.bench.compare import wrk
from tests.bench.growth.cluster import COPIED, Cluster
from tests.bench.growth.filling import Tell
from tests.bench.growth.sizes import OF_A_TRANSFER, per_row, sizes

ACCOUNTS = 10_000
CHANGES = 52  # of each account: two for each of ten transfers a second over 30 days, on a million accounts
STRETCH_S = 10
MOST_GROWTH = 1.1  # of the accounts' table, from the middle to the end

_STATISTICS = """
SELECT n_dead_tup, (SELECT sum(autovacuum_count)::bigint FROM pg_stat_user_tables), n_tup_upd, n_tup_hot_upd
FROM pg_stat_user_tables WHERE relname = 'accounts'
"""


@dataclass(frozen=True)
class Stretch:
    """At its end: MiB of the accounts with their indexes, their dead rows, and how often autovacuum ran on all tables."""

    transfers: int
    per_s: float
    p99_ms: float
    accounts_mib: float
    dead: int
    vacuums: int
    hot: float


def month(cluster: Cluster, minutes: float, tell: Tell) -> tuple[list[dict[str, object]], list[str]]:
    """Change the accounts CHANGES times each and as often again, or until the time is up; the figures, and what is wrong."""
    cluster.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'", "SELECT pg_reload_conf()")
    cluster.fill(ACCOUNTS, 0, tell)
    found: list[Stretch] = []
    posted, until = 0, time.monotonic() + minutes * 60
    print(f"{'transfers':>10} {'a second':>9} {'p99 ms':>7} {'accounts MiB':>13} {'dead':>8} {'vacuums':>8} {'HOT':>6}")
    with cluster.served_copy(ACCOUNTS, verify=True) as program, psycopg.connect(cluster.url(COPIED), autocommit=True) as conn:
        while posted < ACCOUNTS * CHANGES and time.monotonic() < until:  # two changes a transfer: twice the month
            environment = {**program.environment, "READS": "0", "PICK": "uniform", "KEYED": "1", "SEED": str(len(found))}
            measured = wrk.measure(program.port, connections=64, seconds=STRETCH_S, **environment)
            posted += measured.requests
            row = conn.execute(_STATISTICS).fetchone()
            assert row is not None
            dead, vacuums, updates, hot = row
            mib = sum(sizes(conn, ("accounts",))["accounts"].values()) / 2**20
            found.append(Stretch(posted, measured.per_s, measured.p99_ms, mib, dead, vacuums, hot / max(1, updates)))
            rates = f"{posted:10,} {measured.per_s:9,.0f} {measured.p99_ms:7.1f}"
            print(f"{rates} {mib:13.1f} {dead:8,} {vacuums:8} {found[-1].hot:6.1%}", flush=True)
        print(f"bytes for a transfer with a key:\n{per_row(conn, OF_A_TRANSFER, posted)}")
    return [asdict(one) for one in found], judge(found)


def judge(found: list[Stretch]) -> list[str]:
    """A sentence for what is wrong, or none."""
    middle, last = found[len(found) // 2], found[-1]
    broken = []
    if last.accounts_mib > MOST_GROWTH * middle.accounts_mib:
        broken.append(f"the accounts grew from {middle.accounts_mib:.1f} MiB in the middle to {last.accounts_mib:.1f}")
    if posted_changes(last) < CHANGES:
        broken.append(f"each account was changed {posted_changes(last):.0f} times only: give it more --minutes than it had")
    return broken


def posted_changes(stretch: Stretch) -> float:
    """How often each account was changed by then."""
    return 2 * stretch.transfers / ACCOUNTS
