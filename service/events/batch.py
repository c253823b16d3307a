"""Events in a row, shared by all who want them: what is made of them is made once, however many send it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.events.event import Event, Filter

Show = Callable[[Sequence[Event]], bytes]

MOST_LATER = 8  # parts of a batch that are kept with it: those who were cut off together come back together


class Batch:
    """Some events of one ledger, at least one, in the order of their ids. Nobody changes it."""

    __slots__ = ("_chosen", "_later", "_shown", "events")

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self._chosen: dict[Filter, Batch | None] = {}
        self._later: dict[int, Batch | None] = {}
        self._shown: dict[Show, bytes] = {}

    @property
    def last_id(self) -> int:
        """The id of its last event."""
        return self.events[-1].id

    def choose(self, wanted: Filter) -> Batch | None:
        """Those that are wanted, None where none is. Whoever wants the same gets the same batch."""
        if wanted.types is None and wanted.account_ids is None:
            return self
        if wanted not in self._chosen:
            self._chosen[wanted] = _batch([event for event in self.events if wanted.wants(event)], self)
        return self._chosen[wanted]

    def after(self, event_id: int) -> Batch | None:
        """Those after that one, None where there is none."""
        if self.events[0].id > event_id:
            return self
        if event_id not in self._later:
            if len(self._later) >= MOST_LATER:
                self._later.clear()
            self._later[event_id] = _batch([event for event in self.events if event.id > event_id], self)
        return self._later[event_id]

    def shown(self, show: Show) -> bytes:
        """What `show` makes of the events, which is kept with them: give the same function each time."""
        made = self._shown.get(show)
        if made is None:
            made = self._shown[show] = show(self.events)
        return made


def show_all(batches: Sequence[Batch], show: Show) -> bytes:
    """What `show` makes of several batches, one after the other."""
    return batches[0].shown(show) if len(batches) == 1 else b"".join(batch.shown(show) for batch in batches)


def _batch(events: Sequence[Event], whole: Batch) -> Batch | None:
    if len(events) == len(whole.events):
        return whole
    return Batch(events) if events else None
