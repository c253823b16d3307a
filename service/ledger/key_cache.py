"""The keys that one worker keeps: read by every request, written when a key is looked up or has changed.

Reading and writing are under an RWLock. At most MOST_KEPT keys are kept; room is made by the second chance: the oldest goes,
unless it was used since it was last the oldest. What was looked up while something was dropped is not kept, since it may be
of before the change.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from service.concurrency.rwlock import RWLock
from service.ledger.principal import Principal

MOST_KEPT = 4096


@dataclass(slots=True, eq=False)
class Kept:
    """A key that was found valid `as_of`, and ends at `ends_at`; both on the worker's monotonic clock, in seconds."""

    principal: Principal
    secret_hash: bytes
    as_of: float
    ends_at: float
    used: bool = False


class KeyCache:
    """See the module."""

    def __init__(self) -> None:
        self._lock = RWLock()
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()  # by the hash of the secret: no comparison that takes its time
        self._hashes: dict[str, bytes] = {}  # by the key's id
        self._drops = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def drops(self) -> int:
        """How often something was dropped because it may have changed; to be noted before a lookup, for `keep`."""
        return self._drops

    def find(self, key_id: str, secret_hash: bytes) -> Kept | None:
        """The key of that id and secret, if it is kept."""
        with self._lock.reading():
            kept = self._kept.get(secret_hash)
        if kept is None or kept.principal.key_id != key_id:
            return None
        kept.used = True
        return kept

    def keep(self, kept: Kept, drops: int) -> None:
        """Keep a key that was looked up when `drops` was noted, unless something was dropped since."""
        with self._lock.writing():
            if drops != self._drops:
                return
            self._remove(kept.principal.key_id)
            self._kept[kept.secret_hash] = kept
            self._hashes[kept.principal.key_id] = kept.secret_hash
            while len(self._kept) > MOST_KEPT:
                oldest = next(iter(self._kept.values()))
                if oldest.used:
                    oldest.used = False
                    self._kept.move_to_end(oldest.secret_hash)
                else:
                    self._remove(oldest.principal.key_id)

    def drop(self, key_id: str) -> None:
        """The key of that id has changed."""
        with self._lock.writing():
            self._drops += 1
            self._remove(key_id)

    def drop_all(self) -> None:
        """Any key may have changed."""
        with self._lock.writing():
            self._drops += 1
            self._kept.clear()
            self._hashes.clear()

    def _remove(self, key_id: str) -> None:
        if (secret_hash := self._hashes.pop(key_id, None)) is not None:
            del self._kept[secret_hash]
