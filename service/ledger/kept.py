"""What one worker keeps of the database because it is read far more often than it changes: API keys, users.

**Nothing older than a second is used.** What was looked up is used for FRESH_S seconds, and longer, up to its lifetime, only
while notifications of changes are proved to arrive (`proved_within`, see repository/listener.py): what changes is dropped at
once, and when the proof ends, so does the use. FRESH_S is below a second, so that the second holds for whoever measures it
from outside.

**What was dropped does not come back.** A lookup that began before a drop may have seen what was there before the change: it
is not kept. For that, drops are counted, in DROP_COUNTS counts by the hash of the key, so that a change of one thing hardly
ever hinders another's lookup.

Reading and writing are under an RWLock. Room is made by the second chance: the oldest goes, unless it was used since it was
last the oldest. What is not there is never kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import inf
from typing import Generic, NamedTuple, TypeVar

from service.concurrency.primitives import monotonic
from service.concurrency.rwlock import RWLock

FRESH_S = 0.9
DROP_COUNTS = 256

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Begun(NamedTuple):
    """When a lookup or a change began, on the worker's monotonic clock in seconds, and how many drops there were before."""

    as_of: float
    drops: int


@dataclass(slots=True, eq=False)
class _Entry(Generic[V]):
    value: V
    as_of: float
    change: int | None  # the transaction that made the value, where this worker made it
    used: bool = False


class Kept(Generic[K, V]):
    """See the module. At most `most` values are kept, each for `lifetime_s`."""

    def __init__(
        self,
        *,
        most: int,
        proved_within: Callable[[float], bool],
        lifetime_s: float = inf,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._most = most
        self._proved_within = proved_within
        self._lifetime_s = lifetime_s
        self._clock = clock
        self._lock = RWLock()
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._drops = [0] * DROP_COUNTS

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def find(self, key: K) -> V | None:
        """What is kept, if that may be used now."""
        entry = self._lock.read_briefly(self._entries.get, key)
        if entry is None:
            return None
        age_s = self._clock() - entry.as_of
        if age_s >= self._lifetime_s or (age_s >= FRESH_S and not self._proved_within(FRESH_S)):
            return None
        entry.used = True
        return entry.value

    def begin(self, key: K) -> Begun:
        """To be called before something is looked up or changed, for what `keep` and `keep_changed` take."""
        return Begun(self._clock(), self._drops[hash(key) % DROP_COUNTS])

    def keep(self, key: K, value: V, begun: Begun) -> None:
        """Keep what was looked up, unless it may have changed since, or is there as of later."""
        with self._lock.writing():
            entry = self._entries.get(key)
            if begun.drops == self._drops[hash(key) % DROP_COUNTS] and (entry is None or entry.as_of <= begun.as_of):
                self._put(key, _Entry(value, begun.as_of, None))

    def keep_changed(self, key: K, value: V, begun: Begun, change: int) -> None:
        """Keep what the transaction `change` of this worker has made; where another may have followed, only drop the old."""
        with self._lock.writing():
            alone = begun.drops == self._drops[hash(key) % DROP_COUNTS]
            self._remove(key)
            if alone:
                self._put(key, _Entry(value, begun.as_of, change))

    def drop(self, key: K, change: int | None = None) -> None:
        """It has changed, or is gone. What the transaction `change` itself has made stays."""
        with self._lock.writing():
            entry = self._entries.get(key)
            if change is None or entry is None or entry.change != change:
                self._remove(key)

    def drop_all(self) -> None:
        """Anything may have changed."""
        with self._lock.writing():
            self._drops = [drops + 1 for drops in self._drops]
            self._entries.clear()

    def _remove(self, key: K) -> None:
        self._drops[hash(key) % DROP_COUNTS] += 1
        self._entries.pop(key, None)

    def _put(self, key: K, entry: _Entry[V]) -> None:
        self._entries[key] = entry
        self._entries.move_to_end(key)
        while len(self._entries) > self._most:
            oldest = next(iter(self._entries))
            if self._entries[oldest].used:
                self._entries[oldest].used = False
                self._entries.move_to_end(oldest)
            else:
                del self._entries[oldest]
