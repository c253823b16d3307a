"""A lock that many readers or one writer hold.

Guarantees:

- First come, first served: a reader that comes after a waiting writer waits behind it, so writers are not starved; readers
  that wait next to each other are let in together, so readers are not starved either.
- A reader may read again inside (that never waits). Every other nesting would wait for itself and is a RuntimeError: an
  upgrade from reading to writing, and anything inside writing.
- A wait ends with its context or its time, and then leaves nothing behind.

Threads and greenlets are the holders: who releases is who acquired.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from service.concurrency.context import Context, background
from service.concurrency.primitives import Parking, RLock, current

K = TypeVar("K")
T = TypeVar("T")


class _Waiting(Parking):
    __slots__ = ("granted", "holder", "writes")

    def __init__(self, holder: int, writes: bool) -> None:
        super().__init__()
        self.holder = holder
        self.writes = writes
        self.granted = False


class RWLock:
    """See the module."""

    def __init__(self) -> None:
        self._lock = RLock()  # nothing under it waits, and of the locks it is the fastest
        self._readers: dict[int, int] = {}  # who reads, and how many times
        self._writer: int | None = None
        self._queue: OrderedDict[_Waiting, None] = OrderedDict()
        self._reading = _Reading(self)
        self._writing = _Writing(self)

    def reading(self) -> _Reading:
        """`with lock.reading():` waits as long as it takes; `acquire_read` takes a context."""
        return self._reading

    def writing(self) -> _Writing:
        """`with lock.writing():` waits as long as it takes; `acquire_write` takes a context."""
        return self._writing

    def read_briefly(self, read: Callable[[K], T], key: K) -> T:
        """`read(key)`, which waits for nothing and is over at once, such as a lookup in a dictionary.

        Much cheaper than `with lock.reading()`: nobody is noted as a reader, since nobody else runs meanwhile. So it may pass
        writers that wait, whom it does not keep waiting.
        """
        with self._lock:
            if self._writer is None:
                return read(key)
        with self._reading:
            return read(key)

    def acquire_read(self, ctx: Context, timeout_s: float | None = None) -> None:
        """Read. Raises RuntimeError inside writing, the error of `ctx`, or TimeoutError when `timeout_s` has passed."""
        ctx.check()
        me = current()
        with self._lock:
            if me in self._readers:
                self._readers[me] += 1
                return
            if self._writer is None and not self._queue:
                self._readers[me] = 1
                return
            if self._writer == me:
                raise RuntimeError("reading inside writing: the writer may read without that")
            waiting = self._enqueue(me, writes=False)
        self._wait(ctx, waiting, timeout_s)

    def acquire_write(self, ctx: Context, timeout_s: float | None = None) -> None:
        """Write. Raises RuntimeError inside reading or writing, the error of `ctx`, or TimeoutError."""
        ctx.check()
        me = current()
        with self._lock:
            if me in self._readers:
                raise RuntimeError("an upgrade from reading to writing would wait for itself: release the read lock first")
            if self._writer == me:
                raise RuntimeError("writing inside writing would wait for itself")
            if self._writer is None and not self._readers and not self._queue:
                self._writer = me
                return
            waiting = self._enqueue(me, writes=True)
        self._wait(ctx, waiting, timeout_s)

    def release_read(self) -> None:
        """End reading. Raises RuntimeError where the caller does not read."""
        me = current()
        with self._lock:
            times = self._readers.get(me, 0)
            if times == 0:
                raise RuntimeError("release of a read lock that the caller does not hold")
            if times > 1:
                self._readers[me] = times - 1
                return
            del self._readers[me]
            if self._queue:
                self._admit()

    def release_write(self) -> None:
        """End writing. Raises RuntimeError where the caller does not write."""
        with self._lock:
            if self._writer != current():
                raise RuntimeError("release of a write lock that the caller does not hold")
            self._writer = None
            self._admit()

    def _enqueue(self, me: int, *, writes: bool) -> _Waiting:
        waiting = _Waiting(me, writes)
        self._queue[waiting] = None
        return waiting

    def _wait(self, ctx: Context, waiting: _Waiting, timeout_s: float | None) -> None:
        try:
            ctx.park(waiting, timeout_s)
        except BaseException:
            self._withdraw(waiting, release=True)
            raise
        if not self._withdraw(waiting, release=False):
            return
        ctx.check()
        raise TimeoutError(f"the lock was not free within {timeout_s} s")

    def _withdraw(self, waiting: _Waiting, *, release: bool) -> bool:
        """Stop waiting; False if the lock was granted meanwhile, which `release` then gives back."""
        with self._lock:
            if not waiting.granted:
                del self._queue[waiting]
                self._admit()  # who waited behind may go on
                return True
        if release:
            (self.release_write if waiting.writes else self.release_read)()
        return False

    def _admit(self) -> None:
        """Under the lock: let in the first that wait, as many as may be in together."""
        while self._queue and self._writer is None:
            first = next(iter(self._queue))
            if first.writes and self._readers:
                return
            del self._queue[first]
            first.granted = True
            if first.writes:
                self._writer = first.holder
            else:
                self._readers[first.holder] = 1
            first.wake()


class _Reading:
    """Reading, for a `with` statement. It holds nothing itself, so it serves every holder at once."""

    __slots__ = ("_of",)

    def __init__(self, of: RWLock) -> None:
        self._of = of

    def __enter__(self) -> None:
        of, me = self._of, current()
        with of._lock:  # what acquire_read does where nobody writes, without a context: caches are read at every request
            if of._writer is None and not of._queue and me not in of._readers:
                of._readers[me] = 1
                return
        of.acquire_read(background())

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._of.release_read()


class _Writing:
    """Writing, likewise."""

    __slots__ = ("_of",)

    def __init__(self, of: RWLock) -> None:
        self._of = of

    def __enter__(self) -> None:
        self._of.acquire_write(background())

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._of.release_write()
