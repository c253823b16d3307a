"""The log of a ledger's events: what the repository does for those who tell of them.

Nothing is written for it: the events are the rows of the ledger, and what is settled (see `repository.horizon`) is read in the
order of ids, so nobody who goes through it skips a row that commits late, or sees one that does not stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from service.concurrency.context import Context
from service.errors import FieldError, InvalidInput
from service.events.event import Event
from service.ledger.money import GREATEST_ID


class EventStore(Protocol):
    """Events in the database."""

    def advance(self, ctx: Context) -> int:
        """The greatest id up to which every ledger's log is settled, as of now. For one task at a time; it writes nothing."""
        ...

    def read(self, ctx: Context, ledger_id: int, *, after: int, until: int, limit: int) -> Sequence[Event]:
        """Up to `limit` events with ids above `after`, up to `until`, in the order of ids. `until` is a settled id."""
        ...

    def news(self, ctx: Context, positions: Mapping[int, int], *, until: int) -> Collection[int]:
        """Of the ledgers in `positions` those with an event above the id that is given for each, up to `until`."""
        ...

    def has(self, ctx: Context, ledger_id: int, event_id: int) -> bool:
        """Whether the ledger has an event of this id."""
        ...


class HasEvents(Protocol):
    """Who knows which events there are."""

    def has(self, ctx: Context, ledger_id: int, event_id: int) -> bool:
        """Whether the ledger has an event of this id."""
        ...


def check_start(ctx: Context, store: HasEvents, ledger_id: int, after: int, *, field: str = "after") -> None:
    """Raises InvalidInput, which blames `field`, unless one can begin after `after`: 0, or the id of an event of the ledger.

    An id that was made up, one of the future and one of another ledger are told alike.
    """
    if after != 0 and not (0 < after <= GREATEST_ID and store.has(ctx, ledger_id, after)):
        problem = FieldError(field, f"no event of this ledger has the id {after}; 0 is before the first")
        raise InvalidInput("There is no such event to begin after.", fields=(problem,))
