"""Ends statements at the server when nobody waits for them any more: the deadline has passed, or the client has left.

A request that is cancelled would otherwise keep its connection, and the server busy, until the statement ends by itself. The
cancelling is done by workers of its own, since whoever ends a context must not wait for the network.

The races to beat: a request to cancel names a connection, not a statement. One that arrives early, between two statements, is
lost; so it is sent again and again until the connection is given back. One that arrives late would hit the next user of the
connection; so a connection whose statement was to be cancelled is given back only when that request has been answered, and the
server has then answered an empty query on it. A server that does not do all this within two seconds loses the connection.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import errors as pg

from service.concurrency.channel import WouldBlock
from service.concurrency.clock import Clock
from service.concurrency.context import Context, background
from service.concurrency.pool import WorkerPool
from service.concurrency.primitives import Lock, Parking
from service.repository.connect import shut

log = logging.getLogger(__name__)

WORKERS = 4
MOST_WAITING = 1024  # above the pool's connections: none is ever turned away
CANCEL_TIMEOUT_S = 1.0
CANCEL_AGAIN_S = 0.1
CUT_AFTER_S = 2.0  # above what cancelling takes where an answer needs half a second


class Canceller:
    """See the module. Between `open` and `close` it has threads."""

    def __init__(self) -> None:
        self._workers: WorkerPool | None = None

    def open(self) -> None:
        """Start the workers."""
        self._workers = WorkerPool(background(), workers=WORKERS, capacity=MOST_WAITING, name="canceller")

    def close(self) -> None:
        """Join the workers. A second time does nothing."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def watch(self, ctx: Context, watch: Watch) -> None:
        """From now until `watch.end`, cancel what its connection does as soon as `ctx` ends."""
        watch.forget = ctx.on_done(lambda: self._begin(watch, ctx.clock))

    def _begin(self, watch: Watch, clock: Clock) -> None:
        """Called by whoever ends the context: it must not wait."""
        try:
            if self._workers is not None:
                watch.cut_later(clock)
                self._submit(watch, clock)
        except RuntimeError:  # the system gives no thread
            log.warning("a statement is not cancelled at the server, which ends it by its statement_timeout")

    def _submit(self, watch: Watch, clock: Clock) -> None:
        if self._workers is not None:
            with contextlib.suppress(WouldBlock, RuntimeError):  # full, or closed: it is cut in the end
                self._workers.submit_nowait(lambda _: watch.cancel(clock, lambda: self._submit(watch, clock)))


class Watch:
    """The use of a connection under a context, until `end`. Then `was_cut` tells whether the server was given up."""

    __slots__ = ("_again", "_answered", "_conn", "_lock", "_quiet", "_running", "_spare", "forget", "was_cut")

    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self.forget: Callable[[], None] = _nothing
        self._again: Callable[[], None] = _nothing
        self._spare: Callable[[], None] = _nothing
        self.was_cut = False
        self._conn = conn
        self._lock = Lock()
        self._running = True
        self._quiet = False
        self._answered: Parking | None = None

    def cancel(self, clock: Clock, again: Callable[[], None]) -> None:
        """In a worker: ask the server to cancel, unless the use has ended; call `again` soon, if it has not ended then."""
        with self._lock:
            if not self._running:
                return
            answered = self._answered = Parking()
        try:
            self._conn.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        except psycopg.Error as error:
            log.info("a statement could not be cancelled at the server: %s", error)
        finally:
            answered.wake()
        with self._lock:
            if self._running:
                self._again = clock.call_at(clock.now() + CANCEL_AGAIN_S, again)

    def cut_later(self, clock: Clock) -> None:
        """The server may be out of reach, or stopped: cut the connection unless it is quiet soon."""
        with self._lock:
            if self._running:
                self._spare = clock.call_at(clock.now() + CUT_AFTER_S, self._cut)

    def end(self) -> None:
        """No cancelling begins from now on, and one that has begun is waited for. Then the connection is quiet, or closed."""
        self.forget()
        with self._lock:
            self._running = False
        self._again()
        if self._answered is not None:
            background().park(self._answered)  # cancel() is bounded, and wakes it whatever happens
            self._settle()
        with self._lock:
            self._quiet = True
        self._spare()

    def _cut(self) -> None:
        """End the connection under its user's hands: it waits for an answer that does not come."""
        with self._lock:
            if not self._quiet and not self._conn.closed:
                log.warning("the server answers neither a statement nor its cancelling: the connection is cut")
                self.was_cut = True
                if not shut(self._conn):
                    log.info("a connection that was to be cut was broken already")

    def _settle(self) -> None:
        """Let a request to cancel that is still on its way hit an empty query instead of the next user's."""
        for _ in range(2):
            try:
                if not self._conn.closed:
                    self._conn.execute("")
                return
            except pg.QueryCanceled:
                continue
            except psycopg.Error:
                break
        self._conn.close()


def _nothing() -> None:
    return None
