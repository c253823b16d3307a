"""Seals in the database: what they cover, that one is made at a time, and their text as docs/api.md has it."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import errors as pg

from service.audit.seal import BEFORE_THE_FIRST, MARK_BYTES, seal_hash
from service.concurrency.context import background
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from service.repository.seals import SealRepository
from tests.seals import FOREVER_S, move, open_accounts, seal_all, seal_repository
from tests.serving import ROOT


@pytest.fixture
def seals(pool: Pool) -> SealRepository:
    """What makes seals."""
    return seal_repository(pool)


def stored(db: psycopg.Connection, ledger_id: int = 1) -> list[tuple[Any, ...]]:
    """The seals of a ledger: number, first, last, how many."""
    query = "SELECT number, first_id, last_id, transfers FROM seals WHERE ledger_id = %s ORDER BY number"
    return db.execute(query, (ledger_id,)).fetchall()


def test_each_ledger_has_a_chain_of_its_own(seals: SealRepository, db: psycopg.Connection) -> None:
    """Ranges of so many rows, one after the other, each with the hash of the one before."""
    one, two = open_accounts(db, 1), open_accounts(db, 2)
    ids = {1: [], 2: []}
    for number in range(14):
        ledger = 1 + number % 2
        ids[ledger].append(move(db, *(one if ledger == 1 else two), ledger_id=ledger))
    assert seal_all(seals, most_rows=3) == 6
    for ledger in (1, 2):
        assert stored(db, ledger) == [
            (n + 1, part[0], part[-1], len(part)) for n, part in enumerate(ids[ledger][i : i + 3] for i in (0, 3, 6))
        ]
        found, standing = seals.list_seals(background(), ledger, before=2**62, limit=10)
        assert standing.sealed_to == ids[ledger][-1]
        previous = BEFORE_THE_FIRST
        for seal in reversed(found):
            assert seal.previous_hash == previous
            numbers = (ledger, seal.number, seal.first_id, seal.last_id, seal.transfers)
            assert seal.hash == seal_hash(
                numbers, rows_hash=seal.rows_hash, sealed_at=seal.sealed_at, previous_hash=previous
            )
            previous = seal.hash
    assert seal_all(seals) == 0


def test_nothing_beside_an_open_transaction_is_sealed(
    database_url: str, seals: SealRepository, db: psycopg.Connection
) -> None:
    """Neither its row nor those that were committed above it; later all of them are, in order, and none is left out."""
    accounts = open_accounts(db, count=4)
    settled = move(db, *accounts[:2])
    assert seal_all(seals) == 1
    with psycopg.connect(database_url) as slow:
        waiting = move(slow, *accounts[:2])
        beyond = [move(db, *accounts[2:]) for _ in range(3)]
        assert [seal_all(seals) for _ in range(3)] == [0, 0, 0]
    assert seal_all(seals) == 1
    assert stored(db) == [(1, settled, settled, 1), (2, waiting, beyond[-1], 4)]


def test_a_seal_waits_for_its_time_or_for_many_rows(seals: SealRepository, db: psycopg.Connection) -> None:
    """The first is made at once; the next when that is old, or when there is enough for a whole one."""
    accounts = open_accounts(db)

    def due(interval_s: float) -> int:
        return seals.seal_due(background(), interval_s=interval_s, most_rows=3, most_seals=1)

    move(db, *accounts)
    assert due(FOREVER_S) == 1
    for _ in range(2):
        move(db, *accounts)
        assert due(FOREVER_S) == 0
    move(db, *accounts)
    assert due(FOREVER_S) == 1
    move(db, *accounts)
    assert [due(FOREVER_S), due(0), due(0)] == [0, 1, 0]


def test_one_is_made_at_a_time(database_url: str, seals: SealRepository, db: psycopg.Connection) -> None:
    """While another host is sealing nothing is done, and nothing waits."""
    move(db, *open_accounts(db))
    with psycopg.connect(database_url) as other:
        assert other.execute(Queries(sql_folder() / "queries").take("lock_sealing")).fetchone() == (True,)
        assert seal_all(seals) == 0
    assert seal_all(seals) == 1


def test_a_round_is_bounded(seals: SealRepository, db: psycopg.Connection) -> None:
    """It makes so many seals and no more."""
    accounts = open_accounts(db)
    for _ in range(5):
        move(db, *accounts)
    assert [seals.seal_due(background(), interval_s=0, most_rows=1, most_seals=2) for _ in range(4)] == [2, 2, 1, 0]


def test_the_age_of_what_is_not_sealed(seals: SealRepository, db: psycopg.Connection) -> None:
    """That of the oldest row of any ledger; nothing when all are sealed."""
    assert seals.find_unsealed_age_s(background()) == 0
    move(db, *open_accounts(db, 2), ledger_id=2)
    assert seals.find_unsealed_age_s(background()) > 0
    seal_all(seals)
    assert seals.find_unsealed_age_s(background()) == 0


@pytest.mark.parametrize("statement", ["UPDATE seals SET transfers = 1", "DELETE FROM seals", "TRUNCATE seals"])
def test_seals_are_append_only(seals: SealRepository, db: psycopg.Connection, statement: str) -> None:
    """Also for the owner of the table."""
    move(db, *open_accounts(db))
    seal_all(seals)
    with pytest.raises(pg.RestrictViolation, match="append-only"):
        db.execute(statement)


def documented() -> tuple[dict[str, Any], list[str], list[str]]:
    """Of docs/api.md, Seals: the answer, the three texts, and the three digests."""
    section = (ROOT / "docs" / "api.md").read_text("utf-8").split("\n## Seals\n")[1].split("\n## ")[0]
    answer = re.search(r"```json\n(.*?)```", section, re.DOTALL)
    assert answer is not None
    texts, digests = (block.splitlines() for block in re.findall(r"```text\n(.*?)```", section, re.DOTALL))
    return json.loads(answer[1])["data"][0], texts, digests


def test_the_documented_example_is_right() -> None:
    """Recomputed from the text of docs/api.md alone."""
    seal, texts, digests = documented()
    assert [hashlib.sha256(text.encode()).hexdigest() for text in texts] == digests
    rows_hash = hashlib.sha256(b"".join(map(bytes.fromhex, digests[:-1]))).hexdigest()
    numbers = [seal[name] for name in ("ledger_id", "number", "first_id", "last_id", "transfers")]
    text = json.dumps([*numbers, rows_hash, seal["sealed_at"], seal["previous_hash"]], separators=(",", ":"))
    assert (seal["rows_hash"], seal["hash"], texts[-1]) == (rows_hash, digests[-1], text)
    previous = bytes.fromhex(seal["previous_hash"])
    moment = datetime.fromisoformat(seal["sealed_at"])
    own = seal_hash(tuple(numbers), rows_hash=bytes.fromhex(rows_hash), sealed_at=moment, previous_hash=previous)
    assert own.hex() == seal["hash"]


COLUMNS = (
    "ledger_id", "id", "kind", "from_account_id", "to_account_id", "amount", "asset", "from_version", "to_version",
    "from_balance", "to_balance", "from_held", "created_at", "expires_at", "resolves_id", "linked_id", "reference", "metadata",
)  # fmt: skip


def insert(db: psycopg.Connection, values: list[Any]) -> None:
    """Put a row into the log whose values are those of its text."""
    row = dict(zip(COLUMNS, values, strict=True))
    row["metadata"] = None if row["metadata"] is None else json.dumps(row["metadata"])
    db.execute(
        f"INSERT INTO transfers ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", list(row.values())
    )


def digests(db: psycopg.Connection) -> tuple[bytes, list[bytes]]:
    """The hash over all rows of ledger 1, and their marks, as the database computes them."""
    query = Queries(sql_folder() / "queries").take("digest_rows")
    row = db.execute(query, {"ledger_id": 1, "after_id": 0, "until_id": 2**62, "most_rows": 10_000}).fetchone()
    assert row is not None
    marks = row[4]
    return row[3], [marks[i : i + MARK_BYTES] for i in range(0, len(marks), MARK_BYTES)]


def test_the_database_computes_the_documented_texts(db: psycopg.Connection) -> None:
    """The rows of the example, put into the log, have the documented digests, whatever the session's time zone."""
    seal, texts, documented_digests = documented()
    for text in texts[:-1]:
        insert(db, json.loads(text))
    for zone in ("UTC", "Asia/Kathmandu"):
        db.execute("SELECT set_config('timezone', %s, false)", (zone,))
        rows_hash, marks = digests(db)
        assert rows_hash.hex() == seal["rows_hash"]
        assert [mark[8:].hex() for mark in marks] == [digest[:16] for digest in documented_digests[:-1]]


def text_of(values: list[Any]) -> str:
    """A row's text, by the words of docs/api.md."""
    return "[" + ",".join(map(metadata_text, values)) + "]"


def metadata_text(value: Any) -> str:
    """A JSON value, members in the order of their names: the shorter first."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return "{" + ", ".join(f"{metadata_text(name)}: {metadata_text(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(metadata_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


HARD = [
    {"": 1, "zz": True, "a": None, "é": -9007199254740991, "aaa": [[], {}, [1, "x"]]},
    {"Z": {"b": {"c": 'a "quote", a \\, a /'}}, "\t": "\x01\x1f\x7f\b\f\n\r\u2028 \U0001f600"},
    None,
]


def test_hard_texts_are_as_documented(db: psycopg.Connection) -> None:
    """Escapes, names of all kinds, nothing where something is missing, and every column filled."""
    moment = "2026-01-31T09:30:30.000001Z"
    rows = [
        [1, n + 1, kind, 1, 2, 9007199254740991, "A/18", n + 1, n + 1, -5, 5, 7, moment, expires, resolves, linked, text, data]
        for n, (kind, expires, resolves, linked, text, data) in enumerate([
            ("hold", "9999-12-31T23:59:59.999999Z", None, 1, 'a "b" \\ \x02 \n ü', HARD[0]),
            ("capture", None, 1, 1, "\U0001f600", HARD[1]),
            ("transfer", None, None, None, None, HARD[2]),
        ])
    ]
    for row in rows:
        insert(db, row)
    texts = [text_of([*row[:-1], row[-1] or {}]) for row in rows]
    expected = [hashlib.sha256(text.encode()).digest() for text in texts]
    assert digests(db) == (
        hashlib.sha256(b"".join(expected)).digest(),
        [row[1].to_bytes(8, "big") + digest[:8] for row, digest in zip(rows, expected, strict=True)],
    )


def test_now_is_the_databases(seals: SealRepository, db: psycopg.Connection) -> None:
    """sealed_at is no clock of ours, and has microseconds."""
    move(db, *open_accounts(db))
    before = db.execute("SELECT clock_timestamp()").fetchone()
    seal_all(seals)
    after = db.execute("SELECT clock_timestamp()").fetchone()
    (seal,), _ = seals.list_seals(background(), 1, before=2, limit=1)
    assert before is not None
    assert after is not None
    assert before[0] <= seal.sealed_at <= after[0]
    assert seal.sealed_at.tzinfo is not None
    assert seal.sealed_at.astimezone(UTC).utcoffset() is not None
