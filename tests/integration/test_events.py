"""The log of events: what there is of each ledger, in order, from real rows."""

from __future__ import annotations

import psycopg
import pytest

from service.concurrency.context import background
from service.errors import InvalidInput
from service.events.event import EVENT_TYPES, AccountChange, Event, Filter
from service.events.log import check_start
from service.ledger.transfers import Transfer
from service.repository.events import EventRepository
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from tests.seals import move, open_accounts

CTX = background()


@pytest.fixture
def events(pool: Pool) -> EventRepository:
    """What reads them."""
    return EventRepository(pool, Queries(sql_folder() / "queries"))


def read_all(events: EventRepository, *, page: int = 100, ledger_id: int = 1, after: int = 0) -> list[Event]:
    """Every settled event, in pages."""
    settled, found = events.advance(CTX), []
    while more := events.read(CTX, ledger_id, after=after, until=settled, limit=page):
        found += more
        after = more[-1].id
    return found


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_transfers_and_changes_of_accounts_are_one_log(
    db: psycopg.Connection, events: EventRepository, page: int
) -> None:
    """In the order in which they happened, however they are paged."""
    source, target = open_accounts(db)
    first = move(db, source, target)
    db.execute("UPDATE accounts SET status = 'frozen', settings_version = 2 WHERE id = %s", (target,))
    db.execute("UPDATE accounts SET status = 'open', settings_version = 3 WHERE id = %s", (target,))
    second = move(db, source, target)
    found = read_all(events, page=page)
    assert [event.type for event in found] == [
        "account.created", "account.created", "transfer.posted", "account.updated", "account.updated", "transfer.posted",
    ]
    assert [event.account_ids for event in found][:4] == [(source,), (target,), (source, target), (target,)]
    assert [event.id for event in found] == sorted({event.id for event in found})
    assert (found[2].id, found[5].id) == (first, second)
    frozen = found[3].subject
    assert isinstance(frozen, AccountChange)
    assert (frozen.status, frozen.settings_version, frozen.opened) == ("frozen", 2, False)


def test_a_balance_that_changes_is_no_change_of_the_account(db: psycopg.Connection, events: EventRepository) -> None:
    """A transfer is told of once."""
    source, target = open_accounts(db)
    before = len(read_all(events))
    move(db, source, target)
    assert len(read_all(events)) == before + 1


def test_a_user_that_goes_leaves_its_accounts(db: psycopg.Connection, events: EventRepository) -> None:
    """The account has no owner any more, which is a change of it."""
    open_accounts(db)
    user = db.execute("INSERT INTO users (ledger_id, name, email) VALUES (1, 'a', 'a@b.c') RETURNING id").fetchone()
    assert user is not None
    db.execute("INSERT INTO accounts (ledger_id, asset, user_id) VALUES (1, 'USD/2', %s)", user)
    db.execute("DELETE FROM users WHERE id = %s", user)
    *_, opened, left = [event.subject for event in read_all(events)]
    assert isinstance(opened, AccountChange)
    assert isinstance(left, AccountChange)
    assert (opened.user_id, left.user_id) == (user[0], None)


def test_an_event_is_the_same_for_ever(db: psycopg.Connection, events: EventRepository) -> None:
    """What becomes of a hold later does not change what was told of it."""
    source, target = open_accounts(db)
    hold = move(db, source, target, kind="hold")
    before = read_all(events)
    move(db, source, target, kind="capture", resolves_id=hold)
    after = read_all(events)
    assert after[:-1] == before
    assert [event.type for event in after[-2:]] == ["hold.placed", "hold.captured"]
    told = after[-2].subject
    assert isinstance(told, Transfer)
    assert told.status == "open"


def test_a_ledger_sees_its_own(db: psycopg.Connection, events: EventRepository) -> None:
    """And can begin after its own events alone."""
    source, target = open_accounts(db)
    own = move(db, source, target)
    db.execute("INSERT INTO ledgers (name) VALUES ('other')")
    db.execute("INSERT INTO accounts (ledger_id, asset) SELECT id, 'USD/2' FROM ledgers WHERE name = 'other'")
    other = db.execute("SELECT max(id), max(ledger_id) FROM account_changes").fetchone()
    assert other is not None
    assert [event.id for event in read_all(events, ledger_id=other[1])] == [other[0]]
    for good in (0, own):
        check_start(CTX, events, 1, good)
    for bad in (other[0], -1, own + 1_000, 2**63):
        with pytest.raises(InvalidInput) as refused:
            check_start(CTX, events, 1, bad, field="Last-Event-ID")
        assert refused.value.fields[0].field == "Last-Event-ID"


def test_what_is_told_stays(db: psycopg.Connection) -> None:
    """Nobody changes or removes a row of it."""
    open_accounts(db)
    for change in ("UPDATE {} SET status = 'closed'", "DELETE FROM {}", "TRUNCATE {}"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            db.execute(change.format("account_changes"))


def test_filters(db: psycopg.Connection, events: EventRepository) -> None:
    """By type, by account, by both; None is all."""
    a, b, c = open_accounts(db, count=3)
    move(db, a, b)
    move(db, b, c)
    found = read_all(events)
    assert {event.type for event in found} < set(EVENT_TYPES)
    for wanted, number in (
        (Filter(), 5),
        (Filter(types=frozenset({"transfer.posted"})), 2),
        (Filter(account_ids=frozenset({a})), 2),
        (Filter(account_ids=frozenset({a, c})), 4),
        (Filter(types=frozenset({"account.created"}), account_ids=frozenset({c})), 1),
        (Filter(types=frozenset()), 0),
    ):
        assert sum(map(wanted.wants, found)) == number, wanted
