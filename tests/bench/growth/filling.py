"""A ledger of millions, written by COPY: what posting would have left, as far as `ledgerd verify` can tell.

Accounts come first, then transfers in steps. A step is one transaction: its rows, the indexes made anew, and the accounts as
the rows leave them. So what is there is always a whole ledger, and filling goes on from it after a break.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable

import psycopg

from service.commands.progress import Progress
from tests.big_ledger import COPY, LEDGER, ROWS_A_WRITE, indexes_made_afterwards, rows_of_transfers
from tests.integration.conftest import open_pool
from tests.seals import seal_all, seal_repository

USERS = 10_000
CHUNK = 100_000  # accounts a statement: its trigger keeps what was inserted until the end of it
A_TRANSFER, AN_ACCOUNT = 420, 700  # bytes on disk, with indexes, seals and events; generous
SPARE = 4_000_000_000  # for PostgreSQL's own log and what sorting needs

Tell = Callable[[str], None]


def bytes_needed(accounts: int, transfers: int) -> int:
    """Disk for such a ledger."""
    return accounts * AN_ACCOUNT + transfers * A_TRANSFER


def fill(conn: psycopg.Connection, url: str, *, accounts: int, transfers: int, tell: Tell) -> int:
    """Bring the database to so many of each; what it has beyond stays. Ledger 1, ids from 1 on, no floors.

    Returns how many transfers there are.
    """
    _open_accounts(conn, accounts, tell)
    there = _count(conn, "transfers")
    if there < transfers:
        _add_transfers(conn, transfers - there, there, tell)
        tell("sealing")
        with open_pool(url, timeout_s=36_000) as pool:
            while seal_all(seal_repository(pool)):
                pass
        conn.execute("VACUUM (ANALYZE)")
    return max(there, transfers)


def _count(conn: psycopg.Connection, table: str) -> int:
    row = conn.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def _progress(total: int, things: str) -> Progress:
    return Progress(lambda: total, sys.stderr, show=lambda count, _: f"{count:,} of {total:,} {things}")


def _open_accounts(conn: psycopg.Connection, accounts: int, tell: Tell) -> None:
    conn.execute("INSERT INTO ledgers (name) VALUES (%s) ON CONFLICT DO NOTHING", (LEDGER,))
    if not _count(conn, "users"):
        conn.execute(
            "INSERT INTO users (ledger_id, name, email)"
            " SELECT 1, 'first' || n %% 1009 || ' last' || n %% 997, 'user' || n || '@example.com'"
            " FROM generate_series(1, %s) n",
            (USERS,),
        )
    there = _count(conn, "accounts")
    if there >= accounts:
        return
    tell(f"opening {accounts - there:,} accounts")
    progress = _progress(accounts, "accounts")
    for begin in range(there, accounts, CHUNK):
        number = min(CHUNK, accounts - begin)
        insert = "INSERT INTO accounts (ledger_id, asset, min_balance) SELECT 1, 'USD/2', NULL FROM generate_series(1, %s)"
        conn.execute(insert, (number,))
        progress.add(number, number)
    progress.clear()
    ends = conn.execute("SELECT min(id), max(id), count(*) FROM accounts").fetchone()
    assert ends == (1, accounts, accounts), f"the accounts are not numbered from 1 on: {ends}"
    conn.execute("VACUUM (ANALYZE)")


def _add_transfers(conn: psycopg.Connection, number: int, after: int, tell: Tell) -> None:
    versions, balances = _state(conn)
    progress = _progress(number, "transfers")
    tell(f"writing {number:,} transfers after {after:,}")
    with conn.transaction(), indexes_made_afterwards(conn):
        with conn.cursor() as cursor, cursor.copy(COPY) as copy:
            for part in rows_of_transfers(number, versions, balances, after=after):
                copy.write(part)
                progress.add(ROWS_A_WRITE, ROWS_A_WRITE)
        progress.clear()
        tell("the accounts")
        conn.execute("CREATE TEMPORARY TABLE state (id bigint PRIMARY KEY, version bigint, balance bigint) ON COMMIT DROP")
        with conn.cursor() as cursor, cursor.copy("COPY state FROM STDIN") as copy:
            for begin in range(1, len(versions), CHUNK):
                part = range(begin, min(begin + CHUNK, len(versions)))
                copy.write("".join(f"{n}\t{versions[n]}\t{balances[n]}\n" for n in part))
        conn.execute(
            "UPDATE accounts SET version = state.version, balance = state.balance FROM state"
            " WHERE accounts.ledger_id = 1 AND accounts.id = state.id AND accounts.version <> state.version"
        )
        tell("the indexes")


def _state(conn: psycopg.Connection) -> tuple[array[int], array[int]]:
    """Version and balance of each account, at its id."""
    versions, balances = array("q", [0]), array("q", [0])
    with conn.cursor() as cursor, cursor.copy("COPY (SELECT version, balance FROM accounts ORDER BY id) TO STDOUT") as copy:
        for version, balance in copy.rows():
            versions.append(int(version))
            balances.append(int(balance))
    return versions, balances
