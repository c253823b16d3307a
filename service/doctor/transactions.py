"""Transactions: how far the ids are from their end, and who keeps one open."""

from __future__ import annotations

from service.concurrency.context import Context
from service.doctor.examine import Examination, Verdicts
from service.doctor.subject import Subject
from service.doctor.verdict import Verdict, ok, problem, warning

# PostgreSQL takes no writes any more about 2^31 ids after the oldest row that is not frozen (its manual, 24.1.5).
OLD_AGE, GRAVE_AGE = 1_000_000_000, 1_600_000_000
FREEZE = "VACUUM FREEZE in that database; a session, slot or prepared transaction that is old may hold it up"
MORE_TO_SEE = "; other roles' sessions are seen with pg_monitor alone"


def age(ctx: Context, subject: Subject) -> Verdicts:
    """The database that is nearest to the wraparound of transaction ids."""
    rows = subject.database.rows(ctx, "ages")
    oldest = max(rows, key=lambda row: max(row.transactions, row.multixacts))
    return judge_age(oldest.database, max(oldest.transactions, oldest.multixacts))


def judge_age(database: str, transactions: int) -> Verdict:
    """What to think of the age of a database's oldest row."""
    text = f"{transactions:,} transactions old, database {database}; writes end at 2,147,000,000"
    if transactions > GRAVE_AGE:
        return problem(text, FREEZE)
    return warning(text, FREEZE) if transactions > OLD_AGE else ok(text)


def autovacuum(ctx: Context, subject: Subject) -> Verdicts:
    """What removes dead rows and freezes old ones."""
    row = subject.database.row(ctx, "autovacuum")
    if row.autovacuum == "off" or row.track_counts == "off":
        return warning("it does not run: tables grow, and transaction ids are used up", "ALTER SYSTEM SET autovacuum = on")
    return ok("on")


def long_sessions(ctx: Context, subject: Subject) -> Verdicts:
    """Transactions that are open for long: dead rows stay, locks too, and readers of the log wait behind them."""
    database, longest_s = subject.database, subject.longest_transaction_s
    more = "" if database.row(ctx, "replication").sees_others else MORE_TO_SEE
    found = [
        warning(
            f"process {row.pid} of {row.role} ({row.application}) is {row.state}, in a transaction for {row.open_s:.0f} s",
            f"end it there, or SELECT pg_terminate_backend({row.pid})",
        )
        for row in database.rows(ctx, "long_sessions", longest_s=longest_s)
    ]
    found += [
        warning(f"the prepared transaction {row.gid!r} is open for {row.open_s:.0f} s", f"ROLLBACK PREPARED {row.gid!r}")
        for row in database.rows(ctx, "prepared_transactions", longest_s=longest_s)
    ]
    return found or ok(f"none is open for more than {longest_s:g} s{more}")


EXAMINATIONS = (
    Examination("transaction age", age), Examination("autovacuum", autovacuum),
    Examination("open transactions", long_sessions),
)  # fmt: skip
