"""What one webhook is still to be told, in memory: which events may be attempted now, and what is to be written of them.

No I/O, no lock: it belongs to the one task that dispatches. Guarantees:

- An event is not attempted while an earlier one about one of its accounts is neither delivered nor dead. It is dead once the
  database knows it: else a dispatcher that takes over would find an earlier event after a later one had been told.
- A failed event is attempted again only when the database knows of the failure. So whatever is killed, no event is attempted
  more often than it may be and once more for each kill.
- `cursor`, of what is to be written, is below every event that is neither delivered nor written down in a row of its own. So
  a dispatcher that takes over skips none, and sends again what has been delivered above the cursor.
- Rows that were found above the cursor wait until the log has been read up to them: earlier events may be among what is read.
- What is delivered at the first attempt is never written down. What is stuck behind a failed event is, or the cursor would
  stand, and all that is delivered meanwhile be sent again after a crash.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from service.events.event import Event


@dataclass(slots=True)
class Entry:
    """An event that is outstanding. `due` is on the monotonic clock; `event` is there until the first failure."""

    event_id: int
    event_type: str
    account_ids: tuple[int, ...]
    attempts: int = 0
    due: float = 0.0
    since: float = 0.0  # when it was read
    event: Event | None = None
    problem: str | None = None
    in_flight: bool = False
    written: bool = False  # the database has a row of it
    perhaps_written: bool = False  # it may have one: nobody knows what became of the writing
    unwritten_change: bool = False  # and it is not, or not any more, as it should be
    dead: bool = False  # to be written as such


@dataclass(frozen=True, slots=True)
class Row:
    """What is to be written of an entry. `wait_s` None: it is dead. `attempted`: the last attempt was just now."""

    event_id: int
    event_type: str
    account_ids: tuple[int, ...]
    attempts: int
    wait_s: float | None
    attempted: bool
    problem: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """What is to be written of a webhook, all or nothing."""

    cursor: int
    delivered: Sequence[int]  # those of which the database has a row
    rows: Sequence[Row]


@dataclass(slots=True)
class Outbox:
    """See the module. `read_to`: every event up to it has been read; `skipped`: those above it that are dealt with already."""

    read_to: int
    most_fresh: int
    most: int
    skipped: set[int] = field(default_factory=set)
    _entries: dict[int, Entry] = field(default_factory=dict)
    _queues: dict[int, list[int]] = field(default_factory=dict)  # of each account: its events, in order
    _ready: list[tuple[float, int]] = field(default_factory=list)  # a heap; may hold what is not ready any more
    _ahead: list[int] = field(default_factory=list)  # a heap: rows above read_to, before which there may be others
    _delivered: set[int] = field(default_factory=set)
    _written_cursor: int = 0
    fresh: int = 0  # how many have no row
    in_flight: int = 0  # how many attempts are under way
    _changed: bool = False

    def __post_init__(self) -> None:
        self._written_cursor = self.read_to

    def __len__(self) -> int:
        return len(self._entries)

    def room(self, most_fresh: int | None = None) -> int:
        """How many more events may be read; 0 also where they are too few for a page to be worth it.

        After a takeover, what lies before known rows is read whatever their number.
        """
        limit = min(most_fresh or self.most_fresh, self.most)
        free = limit - self.fresh
        if self._ahead:
            return max(free, 0)
        free = min(free, self.most - len(self._entries))
        return free if free > 0 and (not self._entries or free >= limit // 2) else 0

    def add(self, event: Event, now: float = 0.0) -> None:
        """The next event of the log that is wanted, read `now`. Unless it is known already."""
        self.read_past(event.id)
        if event.id in self._entries or event.id in self.skipped:
            self.skipped.discard(event.id)
            return
        self.fresh += 1
        self._enqueue(Entry(event.id, event.type, event.account_ids, event=event, since=now))

    def read_past(self, event_id: int) -> None:
        """Of the events up to `event_id`, all that are wanted have been added."""
        if event_id <= self.read_to:
            return
        self.read_to, self._changed = event_id, True
        while self._ahead and self._ahead[0] <= event_id:
            entry = self._entries.get(heappop(self._ahead))
            if entry is not None and self._is_first(entry):
                self._make_ready(entry)

    def load(self, entries: Iterable[Entry]) -> None:
        """Rows of the database that are waiting; those that are here already stay as they are."""
        for entry in entries:
            if entry.event_id not in self._entries and entry.event_id not in self._delivered:
                entry.written = True
                if entry.event_id > self.read_to:
                    heappush(self._ahead, entry.event_id)
                self._enqueue(entry)

    def attempts_of(self, event_id: int) -> int:
        """How many have failed."""
        return self._entries[event_id].attempts

    @property
    def most_attempts(self) -> int:
        """At any that is here."""
        return max((entry.attempts for entry in self._entries.values()), default=0)

    def next_due(self) -> float | None:
        """When something may be ready; None: not before something else happens."""
        return self._ready[0][0] if self._ready else None

    def may_be_ready(self, now: float) -> bool:
        """Whether `take_ready` may find something."""
        return bool(self._ready) and self._ready[0][0] <= now

    @property
    def since(self) -> float:
        """When the first of those that are here was read; 0 where there is none."""
        return next(iter(self._entries.values())).since if self._entries else 0.0

    def take_ready(self, now: float) -> Entry | None:
        """An entry to attempt, which is in flight from then on."""
        while self._ready and self._ready[0][0] <= now:
            due, event_id = heappop(self._ready)
            entry = self._entries.get(event_id)
            if entry is None or entry.in_flight or entry.unwritten_change or entry.due != due or not self._is_first(entry):
                continue  # there will be another record of it when it is ready
            entry.in_flight = True
            self.in_flight += 1
            return entry
        return None

    def hurry(self, now: float) -> None:
        """Make everything due: its receiver is another one now."""
        for entry in self._entries.values():
            if entry.due > now and not entry.in_flight:
                entry.due = now
                self._make_ready(entry)

    def delivered(self, event_id: int) -> None:
        """The attempt has succeeded."""
        entry = self._landed(event_id)
        if entry.written or entry.perhaps_written:
            self._delivered.add(event_id)
        if event_id > self.read_to:
            self.skipped.add(event_id)
        self._remove(entry)

    def failed(self, event_id: int, problem: str, *, now: float, wait_s: float | None) -> None:
        """The attempt has failed; the next may be made after `wait_s`, None: it was the last."""
        entry = self._landed(event_id)
        entry.event = None
        entry.attempts += 1
        entry.problem = problem
        entry.dead = wait_s is None
        entry.due = now + (wait_s or 0.0)
        entry.unwritten_change = True

    def postponed(self, event_id: int, *, until: float) -> None:
        """No attempt was made, or nobody knows whether it was; it may be from `until` on."""
        entry = self._landed(event_id)
        entry.due = until
        self._make_ready(entry)

    def progress(self, now: float) -> Progress | None:
        """What is to be written; None where nothing is."""
        if not self._changed:
            return None
        rows = []
        for entry in self._to_write():
            wait_s = None if entry.dead else max(entry.due - now, 0.0)
            rows.append(Row(
                entry.event_id, entry.event_type, entry.account_ids, entry.attempts, wait_s, entry.unwritten_change,
                entry.problem,
            ))
        written = {row.event_id for row in rows}
        fresh = [event_id for event_id, entry in self._entries.items() if not entry.written and event_id not in written]
        cursor = min(fresh) - 1 if fresh else self.read_to
        if not rows and not self._delivered and cursor <= self._written_cursor:
            self._changed = False
            return None
        return Progress(cursor, sorted(self._delivered), rows)

    def wrote(self, progress: Progress) -> Sequence[int]:
        """The database has it; the events that are dead by that. Nothing else may have happened since `progress`."""
        self._changed = False
        self._written_cursor = max(self._written_cursor, progress.cursor)
        self._delivered.difference_update(progress.delivered)
        self.skipped = {event_id for event_id in self.skipped if event_id > self.read_to}
        dead = []
        for row in progress.rows:
            entry = self._entries[row.event_id]
            if not entry.written:
                self.fresh -= 1
                entry.written = True
                entry.event = entry.event if entry.in_flight else None
            changed, entry.unwritten_change = entry.unwritten_change, False
            if entry.dead:
                dead.append(entry.event_id)
                if entry.event_id > self.read_to:
                    self.skipped.add(entry.event_id)
                self._remove(entry)
            elif changed and self._is_first(entry):
                self._make_ready(entry)
        return dead

    def perhaps_wrote(self, progress: Progress) -> None:
        """Nobody knows whether the database has it: it is to be written again, and rows may have to be removed."""
        for row in progress.rows:
            self._entries[row.event_id].perhaps_written = True

    def drop_bodies(self) -> None:
        """Keep no event in memory that is not being sent: they are read again when their time has come."""
        for entry in self._entries.values():
            if not entry.in_flight:
                entry.event = None

    def _landed(self, event_id: int) -> Entry:
        entry = self._entries[event_id]
        entry.in_flight = False
        self.in_flight -= 1
        self._changed = True
        return entry

    def _to_write(self) -> Iterable[Entry]:
        """What has failed, and what is stuck behind it: it shares an account, directly or by way of others that are stuck."""
        stuck: set[int] = set()
        for event_id in sorted(self._entries):
            entry = self._entries[event_id]
            is_behind = not stuck.isdisjoint(entry.account_ids)
            if entry.attempts or is_behind:
                stuck.update(entry.account_ids)
            if entry.unwritten_change or (is_behind and not entry.written and not entry.in_flight):
                yield entry

    def _enqueue(self, entry: Entry) -> None:
        self._changed = True
        self._entries[entry.event_id] = entry
        for account_id in entry.account_ids:
            insort(self._queues.setdefault(account_id, []), entry.event_id)
        if self._is_first(entry):
            self._make_ready(entry)

    def _remove(self, entry: Entry) -> None:
        del self._entries[entry.event_id]
        if not entry.written:
            self.fresh -= 1
        followers = set()
        for account_id in entry.account_ids:
            queue = self._queues[account_id]
            del queue[bisect_left(queue, entry.event_id)]
            if queue:
                followers.add(queue[0])
            else:
                del self._queues[account_id]
        for event_id in sorted(followers):
            follower = self._entries[event_id]
            if not follower.in_flight and self._is_first(follower):
                self._make_ready(follower)

    def _is_first(self, entry: Entry) -> bool:
        """Whether no earlier event about one of its accounts is outstanding, or may yet be read."""
        if entry.event_id > self.read_to:
            return False
        return all(self._queues[account_id][0] == entry.event_id for account_id in entry.account_ids)

    def _make_ready(self, entry: Entry) -> None:
        heappush(self._ready, (entry.due, entry.event_id))
