"""Standbys, as the primary sees them, what it keeps for those that are away, and the replicas that ledgerd reads from."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from service.concurrency.context import Context
from service.doctor.examine import Examination, Group, Verdicts
from service.doctor.subject import Subject
from service.doctor.verdict import Verdict, ok, problem, warning
from service.errors import LedgerdError
from service.repository.inspection import Inspection
from service.repository.queries import sql_folder

MEBIBYTE = 1 << 20
LATE_S, GRAVELY_LATE_S = 10.0, 300.0
LATE_BYTES, GRAVELY_LATE_BYTES = 64 * MEBIBYTE, 1024 * MEBIBYTE
MUCH_KEPT_BYTES = 1024 * MEBIBYTE
SYNCHRONOUS = ("sync", "quorum")


def standbys(ctx: Context, subject: Subject) -> Verdicts:
    """Each with its state and how far it is behind."""
    rows = subject.database.rows(ctx, "standbys")
    seen = subject.database.row(ctx, "replication")
    if rows and not seen.sees_others:
        return warning(
            f"{len(rows)} connected, but {seen.role} may not see how far they are", f"GRANT pg_monitor TO {seen.role}"
        )
    return [standby(row) for row in rows] or ok("none is connected")


def standby(row: Any) -> Verdict:
    """One of them."""
    lag_s, lag_bytes = row.lag_s or 0.0, row.lag_bytes or 0
    text = f"{row.state}, {row.sync_state}, {shown(lag_bytes)} and {lag_s:.1f} s behind"
    if row.state != "streaming":
        return warning(text, "it catches up, or a base backup is made; look again later", about=row.name)
    if lag_s > GRAVELY_LATE_S or lag_bytes > GRAVELY_LATE_BYTES:
        return problem(text, "its log says why; a failover now would lose so much", about=row.name)
    if lag_s > LATE_S or lag_bytes > LATE_BYTES:
        return warning(text, "is its disk or the network too slow, or does a long query hold up its replay?", about=row.name)
    return ok(text, about=row.name)


def synchronous(ctx: Context, subject: Subject) -> Verdicts:
    """With synchronous_standby_names and no such standby, every commit waits for ever."""
    seen = subject.database.row(ctx, "replication")
    if not seen.synchronous_standby_names:
        return ok("commits wait for no standby")
    if not seen.sees_others:
        return warning(
            f"commits wait for {seen.synchronous_standby_names}, but {seen.role} may not see whether it is there",
            f"GRANT pg_monitor TO {seen.role}",
        )
    there = [row.name for row in subject.database.rows(ctx, "standbys") if row.sync_state in SYNCHRONOUS]
    if not there:
        return problem(
            f"commits wait for {seen.synchronous_standby_names}, which is not connected: every transfer hangs",
            "start that standby; or ALTER SYSTEM RESET synchronous_standby_names, and transfers are on this machine alone",
        )
    return ok(f"commits wait for {', '.join(there)}")


def slots(ctx: Context, subject: Subject) -> Verdicts:
    """A slot that nobody reads makes the server keep its log until the disk is full, or until its bound is passed."""
    found = [slot(row) for row in subject.database.rows(ctx, "slots")]
    return found or ok("no slot keeps the log for somebody who is away")


def slot(row: Any) -> Verdict:
    """One of them."""
    if row.wal_status == "lost":
        return problem("the log that it needs is gone", "make a new base backup, or drop the slot", about=row.name)
    text = f"nobody reads it; {shown(row.kept_bytes or 0)} of log are kept for it"
    if row.wal_status == "unreserved" or (row.kept_bytes or 0) > MUCH_KEPT_BYTES:
        return problem(text, "start who reads it, or pg_drop_replication_slot() it, before the disk is full", about=row.name)
    return warning(text, "start who reads it (as ledgerd-wal), or pg_drop_replication_slot() it", about=row.name)


def replicas(ctx: Context, subject: Subject) -> Verdicts:
    """Each of DATABASE_REPLICA_URLS, on a connection of its own."""
    urls = subject.config.replica_urls
    found = [replica(ctx, subject, str(number), url) for number, url in enumerate(urls, 1)]
    return found or ok("none is configured to read from")


def replica(ctx: Context, subject: Subject, number: str, url: str) -> Verdict:
    """One of them: whether it follows this primary, and how far behind it is."""
    written = subject.database.row(ctx, "primary_position")
    with closing(Inspection(url, sql_folder())) as inspection:
        try:
            inspection.connect()
            row = inspection.row(ctx, "replica_position")
        except LedgerdError as error:
            return problem(error.message, "reads go elsewhere meanwhile; mend it, or take it out", about=number)
    if row.system != written.system or not row.is_replica:
        what = "a primary itself" if row.system == written.system else "no copy of this database's server"
        return problem(f"it is {what}, so it is not read from", "correct DATABASE_REPLICA_URLS", about=number)
    behind = max(written.bytes - row.bytes, 0)
    lag_s = (row.since_s if behind else 0.0) or 0.0  # unknown before it has replayed its first transaction
    text = f"{shown(behind)} and {lag_s:.1f} s behind"
    if lag_s > subject.config.replica_max_lag_s or behind > LATE_BYTES:
        return warning(text, "above LEDGERD_REPLICA_MAX_LAG_S, so it is not read from", about=number)
    return ok(text, about=number)


def shown(size_bytes: int) -> str:
    """A size for people."""
    if size_bytes < MEBIBYTE:
        return f"{size_bytes / 1024:.0f} kB"
    return f"{size_bytes / MEBIBYTE:.0f} MB" if size_bytes < 1024 * MEBIBYTE else f"{size_bytes / MEBIBYTE / 1024:.1f} GB"


GROUP = Group("replication", (
    Examination("standby", standbys), Examination("synchronous", synchronous), Examination("slot", slots),
    Examination("replica", replicas),
))  # fmt: skip
