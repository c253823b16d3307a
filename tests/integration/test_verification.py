"""Every way to tamper with a ledger is found, and named. It is done as a superuser does it who has silenced the triggers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from service.audit.findings import LEAST, Finding, Part
from service.concurrency.context import background
from service.errors import NotFound, Unavailable
from service.ledger.money import GREATEST_ID
from service.ledger.transfers import PostRequest, link
from service.repository import verification
from service.repository.examination import examine
from service.repository.pool import Pool
from service.repository.posting import PostingRepository
from service.repository.queries import sql_folder
from service.repository.seals import SealRepository
from service.repository.snapshot import export_snapshot
from service.repository.verification import Verification
from tests.conftest import TestServer
from tests.seals import move, open_accounts, seal_all, seal_repository

Statement = tuple[str, ...]


@pytest.fixture
def seals(pool: Pool) -> SealRepository:
    """What makes seals."""
    return seal_repository(pool)


@pytest.fixture
def rogue(test_server: TestServer, database_url: str) -> Iterator[psycopg.Connection]:
    """A superuser without triggers, rules and foreign keys."""
    database = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(test_server.url(str(database), "postgres"), autocommit=True) as conn:
        conn.execute("SET session_replication_role = replica")
        yield conn


@pytest.fixture
def ledger(db: psycopg.Connection, store: PostingRepository, seals: SealRepository) -> list[int]:
    """Transfers 1 to 8 under two seals, 9 and 10 under none; 5 is a hold that 6 captures, 7 one that stays open."""
    a, b, c = open_accounts(db, count=3)
    db.execute("SELECT setval('transfers_id_seq', 1, false)")  # the accounts have drawn ids, too

    def post(*requests: PostRequest) -> None:
        outcomes = store.post_batch(background(), list(requests))
        assert all(hasattr(outcome, "transfer") for outcome in outcomes), outcomes

    def request(source: int, target: int, amount: int, **more: Any) -> PostRequest:
        return PostRequest(ledger_id=1, from_account_id=source, to_account_id=target, amount=amount, **more)

    post(request(a, b, 100, reference="order 1", metadata={"n": 1}, key="one"))
    post(*link([request(a, c, 50), request(c, b, 20)]))
    post(request(b, c, 5))
    seal_all(seals)
    post(request(b, c, 30, kind="hold"))
    post(request(b, c, 25, kind="capture", resolves_id=5))
    post(request(b, c, 7, kind="hold"))
    post(request(c, a, 1))
    seal_all(seals)
    post(request(a, b, 3))
    post(request(b, c, 4, key="two"))
    return [a, b, c]


def found(url: str, *, ledger: str | None = None, expected: frozenset[bytes] = frozenset()) -> list[Finding]:
    """What verification finds, without processes."""
    with export_snapshot(url) as (conn, snapshot):
        work = Verification(conn, sql_folder(), expected)
        findings: list[Finding] = []
        for part in work.parts(work.sizes(ledger)):
            examined = examine((snapshot, part))
            assert examined.failure is None, examined.failure
            findings += examined.findings
        return findings + work.findings


def told(findings: list[Finding]) -> set[tuple[str, Any]]:
    """The codes, each with the most exact place."""
    return {(one.code, next((n for n in (one.transfer_id, one.account_id, one.seal) if n), None)) for one in findings}


def test_a_good_ledger_has_no_findings(database_url: str, ledger: list[int]) -> None:
    """With holds, captures, groups, keys, seals, and rows that have none yet."""
    assert found(database_url) == []
    with export_snapshot(database_url) as (conn, _):
        size, empty = Verification(conn, sql_folder()).sizes(None)
    assert (size.seals, size.sealed, size.unsealed, size.entries) == (2, 8, 2, 20)
    assert (empty.seals, empty.sealed, empty.unsealed, empty.last_hash) == (0, 0, 0, None)


TAMPERINGS: dict[str, tuple[str, set[tuple[str, Any]]]] = {
    "a changed amount": (
        "UPDATE transfers SET amount = 51 WHERE id = 2",
        {("row_changed", 2), ("entry_out_of_order", 2)},
    ),
    "a changed amount that is not sealed": ("UPDATE transfers SET amount = 5 WHERE id = 10", {("entry_out_of_order", 10)}),
    "a changed reference": ("UPDATE transfers SET reference = 'order 2' WHERE id = 1", {("row_changed", 1)}),
    "changed metadata": ("UPDATE transfers SET metadata = '{\"n\": 2}' WHERE id = 1", {("row_changed", 1)}),
    "a changed time": (
        "UPDATE transfers SET created_at = created_at + interval '1 microsecond' WHERE id = 4", {("row_changed", 4)}
    ),
    "a changed account": (
        "UPDATE transfers SET to_account_id = 3, to_version = 99 WHERE id = 4", {
            ("row_changed", 4), ("entry_out_of_order", 4), ("entry_out_of_order", 5), ("account_changed", 3),
        },
    ),
    "a removed row": (
        "DELETE FROM transfers WHERE id = 2",
        {("row_removed", 2), ("entry_out_of_order", 3), ("row_linked_wrongly", 3), ("entry_out_of_order", 8)},
    ),
    "the first row, removed": (
        "DELETE FROM transfers WHERE id = 1",
        {("row_removed", 1), ("entry_out_of_order", 2), ("entry_out_of_order", 3), ("key_without_row", 1)},
    ),
    "the last row, removed, not sealed": (
        "DELETE FROM transfers WHERE id = 10", {("account_changed", 2), ("account_changed", 3), ("key_without_row", 10)}
    ),
    "an inserted row": (
        "INSERT INTO transfers (ledger_id, id, from_account_id, to_account_id, amount, from_version, to_version, from_balance,"
        " to_balance, created_at, asset) VALUES (1, -5, 1, 2, 10, -1, -1, 0, 0, now(), 'USD/2')",
        {("row_inserted", -5), ("entry_out_of_order", -5), ("entry_out_of_order", 1)},
    ),
    "a changed balance": ("UPDATE accounts SET balance = balance + 1 WHERE id = 2",
                          {("account_changed", 2), ("balances_do_not_cancel", None)}),
    "a balance moved to another account": (
        "UPDATE accounts SET balance = balance + CASE id WHEN 2 THEN 1 ELSE -1 END WHERE id IN (2, 3)",
        {("account_changed", 2), ("account_changed", 3)},
    ),
    "a changed version of an account": ("UPDATE accounts SET version = 7 WHERE id = 1", {("account_changed", 1)}),
    "what is held, changed": ("UPDATE accounts SET held = 0 WHERE id = 2", {("held_is_not_open_holds", 2)}),
    "a removed account": (
        "DELETE FROM accounts WHERE id = 3",
        {("account_gone", 2), ("balances_do_not_cancel", None)},
    ),
    "an open hold, removed": ("DELETE FROM open_holds", {("held_is_not_open_holds", 2), ("hold_not_open", 7)}),
    "an open hold that was resolved": (
        "INSERT INTO open_holds SELECT ledger_id, id, from_account_id, to_account_id, amount FROM transfers WHERE id = 5",
        {("held_is_not_open_holds", 2), ("hold_not_as_posted", 5)},
    ),
    "an open hold, changed": (
        "UPDATE open_holds SET amount = 8", {("held_is_not_open_holds", 2), ("hold_not_as_posted", 7)}
    ),
    "a changed hold": (
        "UPDATE transfers SET amount = 20 WHERE id = 5",
        {("row_changed", 5), ("held_out_of_order", 5), ("held_out_of_order", 6), ("row_resolves_wrongly", 6)},
    ),
    "a changed seal": (
        "UPDATE seals SET transfers = transfers + 1, last_id = last_id + 1, marks = marks || substr(marks, 1, 16)"
        " WHERE number = 2", {("seal_changed", 2), ("row_inserted", 9)},
    ),
    "a seal's hash, changed": (
        "UPDATE seals SET hash = sha256(hash) WHERE number = 1", {("seal_changed", 1), ("seal_changed", 2)}
    ),
    "a seal's time, changed": ("UPDATE seals SET sealed_at = now() WHERE number = 1", {("seal_changed", 1)}),
    "a seal's rows, changed": (
        "UPDATE seals SET rows_hash = sha256(rows_hash) WHERE number = 1", {("seal_changed", 1), ("seal_of_other_rows", 1)}
    ),
    "changed marks": (
        "UPDATE seals SET marks = overlay(marks placing '\\x00' from 9) WHERE number = 1", {("marks_changed", 1)}
    ),
    "a removed first seal": ("DELETE FROM seals WHERE number = 1", {("seal_missing", 1)}),
    "a key that points to no row": (
        "UPDATE idempotency_keys SET transfer_id = 77 WHERE key = 'one'", {("key_without_row", 77)}
    ),
    "a row of no ledger": ("UPDATE transfers SET ledger_id = 9 WHERE id = 10",
                           {("ledger_gone", 10), ("account_changed", 2), ("account_changed", 3), ("key_without_row", 10)}),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_and_named(database_url: str, rogue: psycopg.Connection, ledger: list[int], name: str) -> None:
    """Which row, account or seal it was; nothing else is blamed."""
    statement, expected = TAMPERINGS[name]
    assert rogue.execute(statement).rowcount > 0
    assert told(found(database_url)) == expected
    for finding in found(database_url):
        assert finding.ledger in ("one", "#9")
        assert finding.found
        assert finding.expected


def test_a_row_that_was_put_under_a_seal_is_named(
    database_url: str, rogue: psycopg.Connection, seals: SealRepository, ledger: list[int]
) -> None:
    """Though all versions and balances fit, since its id was drawn and left free, and its accounts are new."""
    free = rogue.execute("SELECT nextval('transfers_id_seq')").fetchone()
    assert free is not None
    source, target = open_accounts(rogue)
    move(rogue, *ledger[:2])
    seal_all(seals)
    move(rogue, source, target, id=free[0])
    assert told(found(database_url)) == {("row_inserted", free[0])}


@pytest.mark.parametrize("place", [0, 11])
def test_the_most_that_a_rogue_can_do_is_found_by_a_hash_that_was_kept(
    database_url: str, rogue: psycopg.Connection, seals: SealRepository, ledger: list[int], place: int
) -> None:
    """The last seal is removed, a row changed such that all fits, and sealed anew: the chain is good, and not the one kept."""
    (last, first), _ = seals.list_seals(background(), 1, before=2**62, limit=10)
    rogue.execute("DELETE FROM seals WHERE number = 2")
    rogue.execute("UPDATE transfers SET reference = %s WHERE id = 8", (f"forged {place}",))
    seal_all(seals)
    assert found(database_url) == []
    with export_snapshot(database_url) as (conn, _):
        work = Verification(conn, sql_folder(), frozenset({first.hash, last.hash}))
        list(work.parts(work.sizes(None)))
        assert work.unmet == {last.hash}


@pytest.mark.parametrize("tamper", [lambda conn: None, lambda conn: conn.execute("DELETE FROM transfers WHERE id = 6")])
def test_small_parts_find_the_same(
    monkeypatch: pytest.MonkeyPatch, database_url: str, rogue: psycopg.Connection, ledger: list[int],
    tamper: Callable[[psycopg.Connection], Any],
) -> None:
    """However a ledger is cut: by seals, by ids, by accounts, and one account by its versions."""
    tamper(rogue)
    whole = told(found(database_url))
    monkeypatch.setattr(verification, "ROWS", 2)
    with export_snapshot(database_url) as (conn, _):
        work = Verification(conn, sql_folder())
        parts = list(work.parts(work.sizes("one")))
    assert_covers(parts)
    assert told(found(database_url)) == whole


def assert_covers(parts: list[Part]) -> None:
    """The parts of a ledger follow each other without a gap, from the first to the last that can be."""
    for kind in ("rows", "entries"):
        place = (LEAST, LEAST)
        for part in (one for one in parts if one.kind == kind):
            assert place == (part.after if part.after_version == LEAST else part.until, part.after_version)
            place = (part.until, LEAST if part.until_version == GREATEST_ID else part.until_version)
        assert place == (GREATEST_ID, LEAST)
    assert sum(part.kind == "sums" for part in parts) == 1
    assert any(part.after_version > 0 for part in parts)


def test_what_is_posted_meanwhile_is_not_seen(
    database_url: str, db: psycopg.Connection, store: PostingRepository, ledger: list[int]
) -> None:
    """All parts see what was there when the examination began."""
    with export_snapshot(database_url) as (conn, snapshot):
        work = Verification(conn, sql_folder())
        sizes = work.sizes("one")
        for part in work.parts(sizes):
            store.post_batch(background(), [PostRequest(ledger_id=1, from_account_id=1, to_account_id=2, amount=1)])
            examined = examine((snapshot, part))
            assert (examined.failure, list(examined.findings)) == (None, [])


def test_a_wrong_ledger_an_older_schema_and_missing_rights_are_told(
    test_server: TestServer, database_url: str, db: psycopg.Connection, empty_database_url: str, ledger: list[int]
) -> None:
    """Each with a line that says what would be right."""
    with pytest.raises(NotFound, match="No ledger 'three'; `ledgerd ledger list`"):
        found(database_url, ledger="three")
    with pytest.raises(Unavailable, match=r"lacks migration 0001 \(ledgers_and_keys\): run `ledgerd migrate`"):
        found(empty_database_url)
    test_server.execute("CREATE ROLE nobody_here LOGIN")
    try:
        with pytest.raises(Unavailable, match=r"permission denied .* so GRANT it SELECT"):
            found(database_url.replace("ledgerd@", "postgres@") + "&options=-c%20role%3Dnobody_here")
    finally:
        test_server.execute("DROP ROLE nobody_here")
    with pytest.raises(Unavailable, match="cannot connect"):
        found("postgresql://x@127.0.0.1:1/x")
