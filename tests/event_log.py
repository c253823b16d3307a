"""A log of events in memory, as `events.log.EventStore`. tests/integration/test_feed.py holds it against the database's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime

from service.concurrency.context import Context
from service.errors import Unavailable
from service.events.event import AccountChange, Event

AT = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


class MemoryLog:
    """Ids are drawn in order, and committed in any: what is drawn and not committed holds back what is settled."""

    def __init__(self) -> None:
        self.events: dict[int, Event] = {}
        self.running: set[int] = set()  # drawn, and neither committed nor given up
        self.last_id = 0
        self.broken = False
        self._acting = False
        self.meanwhile: list[Callable[[], None]] = []  # each is called once, after a page was read, none within another

    def draw(self) -> int:
        """An id for an event to come."""
        self.last_id += 1
        self.running.add(self.last_id)
        return self.last_id

    def commit(self, event_id: int, ledger_id: int = 1, account_id: int = 1) -> Event:
        """The event of a drawn id."""
        self.running.discard(event_id)
        subject = AccountChange(event_id, account_id, None, "USD/2", "open", 0, None, {}, 1, AT, True)
        event = self.events[event_id] = Event(ledger_id, subject)
        return event

    def add(self, ledger_id: int = 1, account_id: int = 1) -> Event:
        """Draw and commit."""
        return self.commit(self.draw(), ledger_id, account_id)

    def of(self, ledger_id: int = 1, after: int = 0) -> list[Event]:
        """All of a ledger that are committed, in order."""
        return [event for number, event in sorted(self.events.items()) if number > after and event.ledger_id == ledger_id]

    def advance(self, ctx: Context) -> int:
        """See EventStore."""
        self._look(ctx)
        return min(self.running, default=self.last_id + 1) - 1

    def read(self, ctx: Context, ledger_id: int, *, after: int, until: int, limit: int) -> Sequence[Event]:
        """See EventStore."""
        self._look(ctx)
        found = [event for event in self.of(ledger_id, after) if event.id <= until][:limit]
        if self.meanwhile and not self._acting:
            self._acting = True
            self.meanwhile.pop(0)()
            self._acting = False
        return found

    def news(self, ctx: Context, positions: Mapping[int, int], *, until: int) -> Collection[int]:
        """See EventStore."""
        self._look(ctx)
        return {of for of, after in positions.items() if any(event.id <= until for event in self.of(of, after))}

    def has(self, ctx: Context, ledger_id: int, event_id: int) -> bool:
        """See EventStore."""
        self._look(ctx)
        return event_id in self.events and self.events[event_id].ledger_id == ledger_id

    def _look(self, ctx: Context) -> None:
        ctx.check()
        if self.broken:
            raise Unavailable("The log is broken.")
