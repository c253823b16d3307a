"""Whether the database can be reached, is the right one, keeps what it commits, and gives each connection a session."""

from __future__ import annotations

from statistics import median

from service.concurrency.context import Context
from service.doctor.examine import Examination, Group, Verdicts
from service.doctor.subject import Subject
from service.doctor.verdict import ok, problem, warning
from service.errors import Unavailable
from service.repository.migrate import OLDEST_SERVER

NEWEST_SERVER = 18
ROUND_TRIPS = 10
SLOW_ROUND_TRIP_S = 0.010
NOTIFICATION_S = 2.0
REACH = "is the address right, does the server run there, and does its pg_hba.conf let this role in?"
POOLER = "connect to PostgreSQL itself, or set the pooler to session mode (pgbouncer: pool_mode = session)"
LOOPBACK = ("localhost", "127.", "::1")


def connection(_ctx: Context, subject: Subject) -> Verdicts:
    """The first to ask the database; without it the others have nothing to look at."""
    if subject.inspection is None:
        return warning(subject.no_database, "start the database, and check again: what it can tell is skipped")
    try:
        took_s = subject.inspection.connect()
    except Unavailable as error:
        return problem(error.message, REACH)
    where = subject.database.host
    return ok(f"connected to {where} in {took_s * 1000:.1f} ms")


def round_trip(ctx: Context, subject: Subject) -> Verdicts:
    """Each batch of transfers waits for one round trip and one commit."""
    typical_s = median(subject.database.round_trips(ctx, ROUND_TRIPS))
    text = f"{typical_s * 1000:.2f} ms (median of {ROUND_TRIPS})"
    if typical_s > SLOW_ROUND_TRIP_S:
        return warning(text, "every request waits for one or more of them: run ledgerd near the database")
    return ok(text)


def version(_ctx: Context, subject: Subject) -> Verdicts:
    """What the migrations need, and what ledgerd is tested with."""
    major, minor = subject.database.server_version
    text = f"PostgreSQL {major}.{minor}"
    if major < OLDEST_SERVER:
        return problem(f"{text} is too old", f"ledgerd needs {OLDEST_SERVER} to {NEWEST_SERVER}")
    if major > NEWEST_SERVER:
        return warning(f"{text} is newer than what ledgerd is tested with", f"supported: {OLDEST_SERVER} to {NEWEST_SERVER}")
    return ok(text)


def encryption(_ctx: Context, subject: Subject) -> Verdicts:
    """A network may be listened to; a Unix socket and loopback may not."""
    database = subject.database
    if database.uses_tls:
        return ok(f"TLS, {'with' if database.verifies_server else 'without'} a check of the server's certificate")
    if database.host.startswith(("/", "@")):
        return ok("a Unix socket needs none")
    if database.host.startswith(LOOPBACK):
        return ok("loopback needs none")
    return warning(
        f"TCP to {database.host} without TLS: whoever listens reads the books and the password",
        "turn ssl on at the server, and add sslmode=verify-full (or require) to DATABASE_URL",
    )


def primary(ctx: Context, subject: Subject) -> Verdicts:
    """The ledger writes."""
    row = subject.database.row(ctx, "server")
    if row.in_recovery:
        return problem("a standby, which takes no writes", "let DATABASE_URL name the primary")
    if row.read_only == "on":
        return problem("default_transaction_read_only is on", "RESET it for the role, the database or the server")
    return ok("a primary that takes writes")


def durability(ctx: Context, subject: Subject) -> Verdicts:
    """What was answered 201 must be there after a crash."""
    row = subject.database.row(ctx, "server")
    off = [name for name in ("fsync", "full_page_writes", "synchronous_commit") if getattr(row, name) == "off"]
    if off:
        return problem(
            f"{' and '.join(off)} off: transfers that were confirmed can be lost, or the books damaged, by a crash",
            "; ".join(f"ALTER SYSTEM SET {name} = on" for name in off) + "; and look for ALTER ROLE or DATABASE … SET",
        )
    return ok(f"fsync and full_page_writes on, synchronous_commit {row.synchronous_commit}")


def encoding(ctx: Context, subject: Subject) -> Verdicts:
    """Names are Unicode."""
    found = subject.database.row(ctx, "server").encoding
    if found != "UTF8":
        return problem(f"the database is in {found}", "make a database with ENCODING 'UTF8' TEMPLATE template0, and move")
    return ok("UTF8")


def session(ctx: Context, subject: Subject) -> Verdicts:
    """ledgerd sets time-outs once a connection, so the server's session must stay the same."""
    if not subject.database.keeps_session(ctx):
        return problem("statements of one connection go to different sessions: there is a pooler in between", POOLER)
    return ok("a connection keeps its session")


def prepared_statements(ctx: Context, subject: Subject) -> Verdicts:
    """The hot statements are prepared once a connection."""
    if not subject.database.keeps_prepared_statements(ctx):
        return problem("a prepared statement is not there when it is used again", POOLER)
    return ok("they stay prepared")


def notifications(ctx: Context, subject: Subject) -> Verdicts:
    """LISTEN is the session's. Where there is none, a LISTEN would stay behind in the pooler, so it is not tried."""
    database = subject.database
    if not database.keeps_session(ctx):
        return problem("a connection has no session to be notified in", POOLER)
    if not database.hears_notifications(ctx, NOTIFICATION_S):
        return problem(f"a NOTIFY did not arrive within {NOTIFICATION_S:g} s", POOLER)
    return ok("a NOTIFY of another connection arrives")


GROUP = Group("connectivity", (
    Examination("connection", connection), Examination("round trip", round_trip), Examination("server", version),
    Examination("encryption", encryption), Examination("primary", primary), Examination("durability", durability),
    Examination("encoding", encoding), Examination("session", session),
    Examination("prepared statements", prepared_statements), Examination("notifications", notifications),
))  # fmt: skip
