"""Looking names up, within a deadline: the system's resolver knows none, so it is asked in tasks of their own.

Whoever waits gives up when its context ends; the task goes on until the resolver does. So the number of tasks bounds how many
look-ups there are at once, and slow names wait for each other and for nobody else's work but look-ups. What was found is used
again for FRESH_S: a target that gets a hundred events a second is not looked up as often.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from service.concurrency.context import Context
from service.concurrency.pool import WorkerPool
from service.concurrency.primitives import Lock, monotonic

AT_ONCE = 16
WAITING = 256
FRESH_S = 5.0
MOST_KEPT = 1024

Resolve = Callable[[str, int], Sequence[str]]


def ask_system(host: str, port: int) -> Sequence[str]:
    """The addresses of `host` in the system's order of preference. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


class Lookups:
    """See the module. To be closed at the end."""

    def __init__(self, ctx: Context, resolve: Resolve = ask_system, *, fresh_s: float = FRESH_S) -> None:
        self._pool = WorkerPool(ctx, workers=AT_ONCE, capacity=WAITING, name="lookup")
        self._resolve = resolve
        self._fresh_s = fresh_s
        self._lock = Lock()
        self._kept: dict[tuple[str, int], tuple[float, Sequence[str]]] = {}

    def find(self, ctx: Context, host: str, port: int) -> Sequence[str]:
        """The addresses of `host`. Raises OSError where it has none, or the error of `ctx`."""
        with self._lock:
            until, addresses = self._kept.get((host, port), (0.0, ()))
        if monotonic() < until:
            return addresses
        return self._pool.submit(ctx, self._ask, host, port).get(ctx)

    def close(self) -> None:
        """Ask nothing more. It waits for the look-ups under way: as long as the system's resolver does, at most."""
        self._pool.cancel()
        self._pool.close()

    def _ask(self, _ctx: Context, host: str, port: int) -> Sequence[str]:
        addresses = self._resolve(host, port)
        with self._lock:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[host, port] = monotonic() + self._fresh_s, addresses
        return addresses
