"""A part of a ledger, examined: the work of one process of `ledgerd verify`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from psycopg import Connection

from service.audit.chain import changes
from service.audit.findings import LEAST, MOST_FINDINGS, Examined, Finding, Part, StoredSeal
from service.errors import LedgerdError
from service.ledger.money import GREATEST_ID
from service.repository.queries import Queries, sql_folder
from service.repository.snapshot import Snapshot, take_snapshot

_QUERIES = {
    "rows": ("wrong_resolutions", "wrong_holds"),
    "entries": ("wrong_entries", "wrong_held"),
    "sums": ("wrong_sums", "wrong_held_sums", "wrong_keys"),
}
_OF_ACCOUNTS = ("wrong_accounts", "gone_accounts")  # once for each, however many parts its entries are in


def examine(job: tuple[Snapshot, Part]) -> Examined:
    """What is wrong in a part, on a connection of its own. What keeps it from being examined is in the answer."""
    snapshot, part = job
    try:
        with take_snapshot(snapshot) as conn:
            return Examined(part.weight, [*_against_seals(conn, part), *_against_rules(conn, part)])
    except LedgerdError as error:
        return Examined(part.weight, failure=error.message)


def _against_rules(conn: Connection[Any], part: Part) -> Iterator[Finding]:
    queries = Queries(sql_folder() / "verify")
    where = {
        "ledger_id": part.ledger_id, "after": part.after, "until": part.until,
        "after_version": part.after_version, "until_version": part.until_version, "most": MOST_FINDINGS,
    }
    names = _QUERIES[part.kind] + (_OF_ACCOUNTS if part.kind == "entries" and part.after_version == LEAST else ())
    for query in names:
        for code, transfer_id, account_id, found, expected in conn.execute(queries.take(query), where):
            yield Finding(code, part.ledger, transfer_id, account_id, None, found, expected)


def _against_seals(conn: Connection[Any], part: Part) -> Iterator[Finding]:
    digest_rows = Queries(sql_folder() / "queries").take("digest_rows")
    for after_id, seal in part.seals:
        where = {"ledger_id": part.ledger_id, "after_id": after_id, "until_id": seal.last_id, "most_rows": GREATEST_ID}
        digested = conn.execute(digest_rows, where).fetchone()
        assert digested is not None, "an aggregate gives one row"
        yield from _judge(conn, part, seal, digested)


def _judge(conn: Connection[Any], part: Part, seal: StoredSeal, digested: tuple[Any, ...]) -> Iterator[Finding]:
    """Compare what a seal says of its rows with what they are, and name the rows."""
    transfers, first_id, last_id, rows_hash, marks, _ = digested
    queries = Queries(sql_folder() / "verify")
    (stored,) = conn.execute(
        queries.take("find_marks"), {"ledger_id": part.ledger_id, "number": seal.number}
    ).fetchone() or (b"",)
    told = (seal.transfers, seal.first_id, seal.last_id, seal.rows_hash)
    if told == (transfers, first_id, last_id, rows_hash):
        if stored != marks:
            marked = "marks of other rows", "the marks of its rows"
            yield Finding("marks_changed", part.ledger, None, None, seal.number, *marked)
        return
    differing = list(islice(changes(stored, marks), MOST_FINDINGS))
    for code, row_id in differing:
        row = conn.execute(queries.take("find_row"), {"ledger_id": part.ledger_id, "id": row_id}).fetchone()
        found = "no such row" if row is None else f"the row {json.dumps(row[0], ensure_ascii=False)}"
        expected = "no such row" if code == "row_inserted" else f"the row that seal {seal.number} is over"
        yield Finding(code, part.ledger, row_id, None, seal.number, found, expected)
    if not differing:
        found = f"{seal.transfers} rows from {seal.first_id} to {seal.last_id} with hash {seal.rows_hash.hex()}"
        expected = f"{transfers} rows from {first_id} to {last_id} with hash {rows_hash.hex()}"
        yield Finding("seal_of_other_rows", part.ledger, None, None, seal.number, found, expected)
