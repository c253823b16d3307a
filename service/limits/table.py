"""All buckets of a host, each in a slot that every process can read and write.

A bucket is found by a keyed hash of its name: it chooses a set of eight slots, and marks the slot. A new bucket takes the slot
whose bucket is full first: a full one tells nothing that a new one does not, so nothing is forgotten until eight buckets of
one set are in use, and then the one that matters least. A flood of new names therefore drives out no bucket that is emptier
than theirs.

The set is locked in the kernel, by a record lock of the open file, so the lock of a process that dies is gone. Nobody waits
for it: a holder that is stopped, or has lost the processor, would make every worker stand still. After a few tries the
decision is made without the lock, which may count a token too little; `unlocked` says how often. Whoever writes looks first
whether the slot is still as it was read: a holder that goes on after a pause undoes nothing. Between that look and the write
nothing waits, for the pages are writable from the start (`file`): a page fault there would give a burst away once more. It is
left to lose the processor in just that moment.

Most keys are far from their limit, and a lock costs more than the rest. So while a bucket is more than half full, a process
counts up to a 128th of the burst (`Limit.alone`) by itself, for up to POST_WITHIN_NS, and then posts it to the bucket as one.
With n processes at most n/128 of a burst too much is let through for it; buckets below a burst of 128 are always exact.
"""

from __future__ import annotations

import fcntl
import struct
import time
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

from service.concurrency.primitives import RLock
from service.limits.bucket import LONGEST_FILL_S, SECOND_NS, Limit
from service.limits.file import FIRST_SET, SLOT_BYTES, WAYS, BucketFile

TRIES = 8
POST_WITHIN_NS = 10_000_000
MOST_PLACES = 4096  # names whose place is remembered
_FLOCK = struct.Struct("@hhqqi0q")  # fcntl(2): type, whence, start, length, process
_EIGHT = struct.Struct("@8q")


class _Place:
    """Where a name's bucket belongs: its mark, its set, and what this process has counted of it by itself."""

    __slots__ = ("count", "first", "full_at", "lock", "mark", "posted_at", "start", "unlock")

    def __init__(self, mark: int, number: int) -> None:
        self.mark = mark
        self.start = FIRST_SET + number * WAYS * SLOT_BYTES
        self.first = self.start // 8  # its index among the cells
        self.lock = _FLOCK.pack(fcntl.F_WRLCK, 0, self.start, WAYS * SLOT_BYTES, 0)
        self.unlock = _FLOCK.pack(fcntl.F_UNLCK, 0, self.start, WAYS * SLOT_BYTES, 0)
        self.count = 0  # tokens that are not posted yet
        self.posted_at = -POST_WITHIN_NS
        self.full_at = 0  # the bucket's time as this process knows it, with its own count


class Table:
    """See the module. `take` never waits and never fails."""

    def __init__(self, file: BucketFile, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.unlocked = 0
        self._file = file
        self._cells = memoryview(file.map).cast("q")
        self._now_ns = now_ns
        self._lock = RLock()  # nothing under it waits, not even for the kernel's lock
        self._place = lru_cache(MOST_PLACES)(self._find_place)

    def close(self) -> None:
        """Let go of the file; nothing may be taken any more."""
        self._cells.release()
        self._file.close()

    def take(self, name: str, limit: Limit) -> tuple[bool, int]:
        """Take a token from the bucket of `name`; whether there was one, and the nanoseconds until the bucket is full."""
        place = self._place(name)
        now = self._now_ns()
        with self._lock:
            if place.count < limit.alone and now - place.posted_at < POST_WITHIN_NS:
                full_at = max(place.full_at, now) + limit.interval_ns
                if full_at - now <= limit.half_ns:
                    place.count += 1
                    place.full_at = full_at
                    return True, full_at - now
            return self._take_shared(place, limit, now)

    def _take_shared(self, place: _Place, limit: Limit, now: int) -> tuple[bool, int]:
        held = self._try_lock(place)
        try:
            for _ in range(TRIES):
                slot = at, posted = self._find_slot(place, now)
                if place.count:
                    posted = max(posted, place.posted_at) + place.count * limit.interval_ns
                taken, full_at = limit.take(posted, now)
                if not (taken or place.count):
                    break  # nothing to write, and so nothing that could be undone
                if self._find_slot(place, now) == slot:
                    self._cells[at + WAYS] = full_at if taken else posted
                    self._cells[at] = place.mark  # last: before, the slot is another's, whose bucket matters little
                    break
        finally:
            if held:
                self._unlock(place)
        place.count, place.posted_at, place.full_at = 0, now, full_at
        return taken, full_at - now

    def give_back(self, name: str, limit: Limit) -> None:
        """Put back a token that was taken a moment ago and not used."""
        place = self._place(name)
        with self._lock:
            if place.count:
                place.count -= 1
                place.full_at -= limit.interval_ns
                return
            held = self._try_lock(place)
            try:
                now = self._now_ns()
                at, full_at = self._find_slot(place, now)
                place.full_at = self._cells[at + WAYS] = limit.give_back(full_at, now)
                self._cells[at] = place.mark
            finally:
                if held:
                    self._unlock(place)

    def _find_place(self, name: str) -> _Place:
        digest = blake2b(name.encode(), key=self._file.secret, digest_size=16).digest()
        mark, number = struct.unpack("<qQ", digest)
        return _Place(mark or 1, number % self._file.sets)  # 0 marks a slot that nobody has had

    def _find_slot(self, place: _Place, now: int) -> tuple[int, int]:
        """The index of that place's bucket and when it is full; where there is none yet, of the slot that it is to have."""
        marks = _EIGHT.unpack_from(self._file.map, place.start)
        if place.mark in marks:
            at = place.first + marks.index(place.mark)
            if marks.count(place.mark) == 1:
                return at, self._cells[at + WAYS]
            # Two have made it at once, one of them without the lock: the emptier one counts.
            return at, max(self._cells[place.first + WAYS + n] for n, mark in enumerate(marks) if mark == place.mark)
        times = _EIGHT.unpack_from(self._file.map, place.start + WAYS * 8)
        horizon = now + LONGEST_FILL_S * SECOND_NS
        times = tuple(time_ns if time_ns <= horizon else 0 for time_ns in times)
        return place.first + times.index(min(times)), now

    def _try_lock(self, place: _Place) -> bool:
        for _ in range(TRIES):
            try:
                fcntl.fcntl(self._file.fd, fcntl.F_OFD_SETLK, place.lock)
            except OSError:  # held by another process, or the kernel has no memory for locks
                continue
            return True
        self.unlocked += 1
        return False

    def _unlock(self, place: _Place) -> None:
        fcntl.fcntl(self._file.fd, fcntl.F_OFD_SETLK, place.unlock)
