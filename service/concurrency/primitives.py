"""The one module that touches `threading` and the system's clock; the core is written on these names alone.

Whoever imports it after gevent has patched the process gets greenlets; otherwise threads. Left out on purpose: condition
variables. A waiter parks on a lock of its own, so whoever wakes it wakes exactly one.

`RLock` belongs to the native thread in both: it is for what a finaliser or a signal handler may do, which run in the middle of
anything, perhaps of a section under the same lock. Such a section never waits, so greenlets need no lock among each other; but
at each allocation and each call in it another may come in between.
"""

from __future__ import annotations

import _thread
import threading
import time

Lock = threading.Lock
RLock = _thread.RLock
Thread = threading.Thread
monotonic = time.monotonic
current = threading.get_ident  # a number that no other running thread (or greenlet) has


def give_way() -> None:
    """Let others run that are ready, between two parts of a long computation."""
    time.sleep(0)


class Parking:
    """A place for one waiter to sleep until somebody wakes it, once.

    A wake before the wait is not lost; further wakes do nothing.
    """

    __slots__ = ("_gate",)

    def __init__(self) -> None:
        self._gate = Lock()
        self._gate.acquire()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep until woken or until `timeout_s` has passed, perhaps a little less; tells whether it was woken."""
        if timeout_s is None:
            return self._gate.acquire()
        return self._gate.acquire(timeout=min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))

    def wake(self) -> None:
        """Let the waiter go on."""
        try:  # noqa: SIM105  # contextlib.suppress costs as much as the release
            self._gate.release()
        except RuntimeError:  # it was woken before
            pass
