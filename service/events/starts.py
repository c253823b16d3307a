"""Where one may begin: which events there are, remembered for a while.

After a restart a thousand clients come back at once, most of them with the same id. It is looked for once, by the first; the
others wait for that, or find it remembered. Events stay, so what was found stays true; but a database may be set back, so it
is asked again after a minute. What was not found is never remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from service.concurrency.context import Context
from service.concurrency.primitives import Lock, monotonic
from service.events.log import EventStore
from service.ledger.kept import Begun
from service.ledger.lookups import Lookups

MOST_KEPT = 1024
KEPT_S = 60.0

_Place = tuple[int, int]  # of a ledger and of an event


class Starts:
    """`has` as an EventStore's."""

    def __init__(self, store: EventStore, clock: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._found_at: OrderedDict[_Place, float] = OrderedDict()
        self._lookups: Lookups[_Place, bool] = Lookups(self._look, lambda _place: Begun(clock(), 0))

    def has(self, ctx: Context, ledger_id: int, event_id: int) -> bool:
        """Whether the ledger has an event of this id. Raises what the store raises."""
        place = ledger_id, event_id
        with self._lock:
            found_at = self._found_at.get(place)
        if found_at is not None and self._clock() - found_at < KEPT_S:
            return True
        return self._lookups.find(ctx, place).found

    def _look(self, ctx: Context, place: _Place) -> bool:
        now = self._clock()
        found = self._store.has(ctx, *place)
        if found:
            with self._lock:
                self._found_at.pop(place, None)
                self._found_at[place] = now
                while len(self._found_at) > MOST_KEPT:
                    self._found_at.popitem(last=False)
        return found
