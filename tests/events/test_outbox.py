"""The outbox against a plain account of what was sent: whatever fails, whenever it is killed, nothing is skipped or early."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from service.events.event import AccountChange, Event
from service.events.outbox import Entry, Outbox, Progress
from service.ledger.transfers import Transfer

MOST_ATTEMPTS = 3


def event(number: int, *accounts: int) -> Event:
    """About one account or two."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    if len(accounts) == 1:
        return Event(1, AccountChange(number, accounts[0], None, "USD/2", "open", 0, None, {}, 1, at, False))
    values = dict.fromkeys(Transfer.__dataclass_fields__)
    known = {
        "id": number, "from_account_id": accounts[0], "to_account_id": accounts[1], "amount": 1, "asset": "USD/2",
        "kind": "transfer", "metadata": {}, "created_at": at,
    }
    return Event(1, Transfer(**{**values, **known}))


@dataclass
class Database:
    """What is written: the cursor, and the rows by event."""

    cursor: int = 0
    waiting: dict[int, Entry] = field(default_factory=dict)
    dead: set[int] = field(default_factory=set)

    def write(self, progress: Progress) -> None:
        """As the repository does."""
        self.cursor = max(self.cursor, progress.cursor)
        for number in progress.delivered:
            self.waiting.pop(number, None)
        for row in progress.rows:
            if row.wait_s is None:
                self.waiting.pop(row.event_id, None)
                self.dead.add(row.event_id)
            else:
                self.waiting[row.event_id] = Entry(
                    row.event_id, row.event_type, row.account_ids, row.attempts, 0.0, written=True
                )

    def restore(self, most_fresh: int) -> Outbox:
        """As a dispatcher that takes over does."""
        outbox = Outbox(self.cursor, most_fresh, 50)
        outbox.skipped.update(number for number in self.dead if number > self.cursor)
        outbox.load(
            Entry(e.event_id, e.event_type, e.account_ids, e.attempts, 0.0) for e in list(self.waiting.values())
        )
        return outbox


class World:
    """A log, a database, an outbox, attempts under way, and a receiver that notes what it is sent."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.accounts = self.random.choice([1, 2, 4, 12])
        self.log = [event(number, *self._some_accounts()) for number in range(1, self.random.choice([10, 60]) + 1)]
        self.failing = self.random.choice([0.0, 0.2, 0.6])
        self.poisoned = {e.id for e in self.log if self.random.random() < 0.05}
        self.database = Database()
        self.most_fresh = self.random.choice([1, 5, 200])
        self.outbox = self.database.restore(self.most_fresh)
        self.now = 0.0
        self.in_flight: list[Entry] = []
        self.received: list[int] = []
        self.attempts: dict[int, int] = defaultdict(int)
        self.kills = 0

    def _some_accounts(self) -> tuple[int, ...]:
        one = self.random.randrange(1, self.accounts + 1)
        other = self.random.randrange(1, self.accounts + 2)
        return (one,) if one == other else (one, other)

    def read(self) -> None:
        """Some more of the log, as far as there is room."""
        room = min(self.outbox.room(), self.random.choice([1, 10]))
        for each in [e for e in self.log if e.id > self.outbox.read_to][:room]:
            self.outbox.add(each)

    def start(self) -> None:
        """Attempts, each of which must be allowed."""
        for _ in range(self.random.choice([1, 3, 8])):
            entry = self.outbox.take_ready(self.now)
            if entry is None:
                return
            self._check_allowed(entry)
            self.attempts[entry.event_id] += 1
            self.in_flight.append(entry)

    def _check_allowed(self, entry: Entry) -> None:
        """Every earlier event about one of its accounts has been received, or is dead in the database."""
        for earlier in self.log[: entry.event_id - 1]:
            if not set(earlier.account_ids).isdisjoint(entry.account_ids):
                assert earlier.id in self.received or earlier.id in self.database.dead, f"{entry.event_id} before {earlier.id}"

    def end(self) -> None:
        """One of the attempts under way comes to something."""
        if not self.in_flight:
            return
        entry = self.in_flight.pop(self.random.randrange(len(self.in_flight)))
        roll = self.random.random()
        if entry.event_id in self.poisoned or roll < self.failing:
            if self.random.random() < 0.3:
                self.received.append(entry.event_id)  # the answer was lost
            wait_s = None if entry.attempts + 1 >= MOST_ATTEMPTS else self.random.random()
            self.outbox.failed(entry.event_id, "status 500", now=self.now, wait_s=wait_s)
        elif roll > 0.97:
            self.outbox.postponed(entry.event_id, until=self.now + 0.1)
            self.attempts[entry.event_id] -= 1
        else:
            self.received.append(entry.event_id)
            self.outbox.delivered(entry.event_id)

    def write(self) -> None:
        """Progress, which may be lost, or may be written and nobody know it."""
        progress = self.outbox.progress(self.now)
        if progress is None:
            return
        roll = self.random.random()
        if roll < 0.9:
            self.database.write(progress)
            self.outbox.wrote(progress)
        else:
            if roll < 0.95:
                self.database.write(progress)
            self.outbox.perhaps_wrote(progress)

    def kill(self) -> None:
        """Whatever was in memory is gone; what was under way may have arrived."""
        self.kills += 1
        for entry in self.in_flight:
            if self.random.random() < 0.5:
                self.received.append(entry.event_id)
        self.in_flight = []
        self.outbox = self.database.restore(self.most_fresh)

    def is_done(self) -> bool:
        """Whether everything is dealt with, and the database knows it."""
        return self.database.cursor >= len(self.log) and not self.database.waiting and not len(self.outbox)


@pytest.mark.parametrize("seed", range(300))
def test_whatever_happens(seed: int) -> None:
    """Every event is received or dead in the end, none before an earlier one of its accounts, and attempts are bounded."""
    world = World(seed)
    kills = world.random.choice([0.0, 0.01, 0.05])
    for step in range(20_000):
        if world.is_done():
            break
        world.now += 0.05
        world.random.choice([world.read, world.start, world.start, world.end, world.end, world.write])()
        if step < 2_000 and world.random.random() < kills:
            world.kill()
        assert world.outbox.fresh <= max(world.most_fresh, 1)
    assert world.is_done(), "it came to a halt"
    assert set(world.received) | world.database.dead >= {e.id for e in world.log}
    assert world.database.dead <= world.poisoned or world.failing
    assert max(world.attempts.values()) <= MOST_ATTEMPTS + world.kills
    firsts = list(dict.fromkeys(world.received))
    by_account: dict[int, list[int]] = defaultdict(list)
    for number in firsts:
        if number not in world.database.dead:
            for account in world.log[number - 1].account_ids:
                by_account[account].append(number)
    assert all(numbers == sorted(numbers) for numbers in by_account.values())


def test_what_arrives_at_once_is_never_a_row() -> None:
    """Only the cursor is written."""
    outbox = Outbox(0, 200, 1000)
    for number in range(1, 101):
        outbox.add(event(number, number))
    while (entry := outbox.take_ready(0.0)) is not None:
        outbox.delivered(entry.event_id)
    assert outbox.progress(0.0) == Progress(100, [], [])


def test_one_failing_account_holds_up_nobody_else() -> None:
    """What is stuck behind it is written down, and the cursor goes on."""
    outbox = Outbox(0, 200, 1000)
    outbox.add(event(1, 7))
    first = outbox.take_ready(0.0)
    assert first is not None
    outbox.failed(1, "status 500", now=0.0, wait_s=60.0)
    outbox.add(event(2, 7, 8))  # behind 1
    outbox.add(event(3, 8))  # behind 2
    outbox.add(event(4, 9))
    free = outbox.take_ready(0.0)
    assert free is not None
    assert free.event_id == 4
    assert outbox.take_ready(0.0) is None
    outbox.delivered(4)
    progress = outbox.progress(0.0)
    assert progress is not None
    assert (progress.cursor, [row.event_id for row in progress.rows]) == (4, [1, 2, 3])
    assert [row.attempted for row in progress.rows] == [True, False, False]
    outbox.wrote(progress)
    assert outbox.take_ready(59.0) is None
    again = outbox.take_ready(60.0)
    assert again is not None
    assert again.event_id == 1
    outbox.delivered(1)
    second = outbox.take_ready(60.0)
    assert second is not None
    assert second.event_id == 2


def test_a_failure_is_not_repeated_before_it_is_written() -> None:
    """Else a dispatcher that is killed again and again would attempt it for ever."""
    outbox = Outbox(0, 200, 1000)
    outbox.add(event(1, 7))
    assert outbox.take_ready(0.0) is not None
    outbox.failed(1, "status 500", now=0.0, wait_s=0.0)
    assert outbox.take_ready(1.0) is None
    progress = outbox.progress(1.0)
    assert progress is not None
    outbox.wrote(progress)
    assert outbox.take_ready(1.0) is not None


def test_an_event_that_is_given_up_blocks_until_that_is_written() -> None:
    """Else one that takes over would find it waiting, after a later one had been told."""
    outbox = Outbox(0, 200, 1000)
    outbox.add(event(1, 7))
    outbox.add(event(2, 7))
    assert outbox.take_ready(0.0) is not None
    outbox.failed(1, "status 500", now=0.0, wait_s=None)
    assert outbox.take_ready(0.0) is None
    progress = outbox.progress(0.0)
    assert progress is not None
    assert progress.rows[0].wait_s is None
    assert outbox.wrote(progress) == [1]
    following = outbox.take_ready(0.0)
    assert following is not None
    assert following.event_id == 2


def test_it_holds_no_more_than_it_may() -> None:
    """Of what has no row, and in all."""
    outbox = Outbox(0, 3, 5)
    for number in (1, 2, 3):
        outbox.add(event(number, number))
    assert (outbox.room(), outbox.room(2)) == (0, 0)
    for number in (1, 2, 3):
        assert outbox.take_ready(0.0) is not None
        outbox.failed(number, "status 500", now=0.0, wait_s=60.0)
    progress = outbox.progress(0.0)
    assert progress is not None
    outbox.wrote(progress)
    assert outbox.room() == 2


def test_a_redelivered_event_goes_first_again() -> None:
    """Before the later ones about its account that are not under way."""
    outbox = Outbox(5, 200, 1000)
    outbox.add(event(6, 7))
    outbox.add(event(7, 7))
    outbox.load([Entry(2, "account.updated", (7,))])
    first = outbox.take_ready(0.0)
    assert first is not None
    assert first.event_id == 2
    assert outbox.take_ready(0.0) is None
    outbox.delivered(2)
    second = outbox.take_ready(0.0)
    assert second is not None
    assert second.event_id == 6
    assert outbox.progress(0.0) == Progress(5, [2], [])
