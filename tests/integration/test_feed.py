"""The log in memory, on which the feed is tested, does what the database's does; and the feed on the database's."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from service.concurrency.context import background
from service.events.event import Filter
from service.events.feed import Feed
from service.events.log import EventStore
from service.repository.events import EventRepository
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from tests.event_log import MemoryLog
from tests.unit.test_feed import listen, told

CTX = background()
OPEN = "INSERT INTO accounts (ledger_id, asset) VALUES (%s, 'USD/2')"
LAST = "SELECT max(id) FROM account_changes"


class Real:
    """The database's log, with the steps that the memory's has."""

    def __init__(self, url: str, db: psycopg.Connection, pool: Pool) -> None:
        self.store = EventRepository(pool, Queries(sql_folder() / "queries"))
        self._url = url
        self._db = db
        self._running: dict[int, psycopg.Connection] = {}

    def add(self, ledger_id: int) -> int:
        self._db.execute(OPEN, (ledger_id,))
        return _only(self._db.execute(LAST))

    def draw(self, ledger_id: int) -> int:
        conn = psycopg.connect(self._url)
        conn.execute(OPEN, (ledger_id,))
        event_id = _only(conn.execute(LAST))
        self._running[event_id] = conn
        return event_id

    def end(self, event_id: int, ledger_id: int, *, commits: bool) -> None:
        conn = self._running.pop(event_id)
        if commits:
            conn.commit()
        else:
            conn.rollback()  # acknowledged: the server sees a connection that is closed only after a moment
        conn.close()


class Memory:
    """The memory's, with the same steps."""

    def __init__(self) -> None:
        self.store = MemoryLog()

    def add(self, ledger_id: int) -> int:
        return self.store.add(ledger_id).id

    def draw(self, ledger_id: int) -> int:
        return self.store.draw()

    def end(self, event_id: int, ledger_id: int, *, commits: bool) -> None:
        if commits:
            self.store.commit(event_id, ledger_id)
        else:
            self.store.running.discard(event_id)


Steps = Real | Memory


@pytest.fixture(params=["memory", "database"])
def steps(request: pytest.FixtureRequest) -> Steps:
    """Both."""
    if request.param == "memory":
        return Memory()
    return Real(*(request.getfixturevalue(name) for name in ("database_url", "db", "pool")))


def read(store: EventStore, ledger_id: int, after: int, until: int, limit: int = 100) -> list[int]:
    """The ids of a page."""
    return [event.id for event in store.read(CTX, ledger_id, after=after, until=until, limit=limit)]


def test_both_logs_settle_alike(steps: Steps) -> None:
    """Up to what still runs, and on when that has ended, be it in vain; a page is of one ledger, in order."""
    store: EventStore = steps.store
    assert store.advance(CTX) == 0
    first, second = steps.add(1), steps.add(2)
    assert store.advance(CTX) == second
    for commits in (True, False):
        running = steps.draw(1)
        later = [steps.add(1), steps.add(2)]
        assert settled(store, lambda now, running=running: now >= running - 1) == running - 1
        assert running not in read(store, 1, 0, running - 1)
        steps.end(running, 1, commits=commits)
        assert settled(store, lambda now, later=later: now >= later[-1]) == later[-1]
        assert (running in read(store, 1, 0, later[-1])) is commits
        assert store.has(CTX, 1, running) is commits
    everything = read(store, 1, 0, later[-1])
    assert everything == sorted(everything)
    assert everything[0] == first
    assert read(store, 1, 0, later[-1], limit=2) == everything[:2]
    assert read(store, 1, everything[0], everything[-1] - 1) == everything[1:-1]
    assert not store.has(CTX, 1, second)
    assert store.has(CTX, 2, second)


def test_both_logs_tell_whose_news_there_are(steps: Steps) -> None:
    """Of the ledgers that are asked for, by the position of each, up to the settled end."""
    store: EventStore = steps.store
    first, second = steps.add(1), steps.add(2)
    until = settled(store, lambda now: now >= second)
    assert set(store.news(CTX, {1: 0, 2: 0, 3: 0}, until=until)) == {1, 2}
    assert set(store.news(CTX, {1: first, 2: first}, until=until)) == {2}
    assert set(store.news(CTX, {1: 0, 2: 0}, until=first)) == {1}
    assert set(store.news(CTX, {2: 0}, until=until)) == {2}
    assert set(store.news(CTX, {1: first, 2: second}, until=until)) == set()


def test_the_feed_tells_of_the_database(database_url: str, db: psycopg.Connection, pool: Pool) -> None:
    """Of two ledgers at once, past and present, with what commits late in its place."""
    real = Real(database_url, db, pool)
    for number in range(10):
        real.add(1 + number % 2)
    feed = Feed(real.store, most=3)
    one, two = listen(feed, 0, Filter(), 1), listen(feed, 0, Filter(), 2)
    assert (told(one), told(two)) == ([], [])
    feed.look(CTX)
    found = {1: told(one), 2: told(two)}
    running = real.draw(1)
    real.add(1)
    feed.look(CTX)
    assert (told(one), told(two)) == ([], [])
    real.end(running, 1, commits=True)
    real.add(2)
    for _ in range(3):
        feed.look(CTX)
        found[1] += told(one)
        found[2] += told(two)
    for ledger_id, ids in found.items():
        rows = db.execute("SELECT id FROM account_changes WHERE ledger_id = %s ORDER BY id", (ledger_id,))
        assert ids == [row[0] for row in rows]
    assert running in found[1]


def settled(store: EventStore, enough: Callable[[int], bool]) -> int:
    """What it settles up to, after a few looks: the database's needs two where something ran."""
    for _ in range(5):
        now = store.advance(CTX)
        if enough(now):
            break
    return now


def _only(found: psycopg.Cursor) -> int:
    row = found.fetchone()
    assert row is not None
    return int(row[0])


