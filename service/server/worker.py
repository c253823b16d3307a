"""gunicorn's gevent worker with a life of our own: up when ready, and drained at once when it is to end.

It begins to accept when its application can serve (what /readyz says), and tells the arbiter so. It ends in the order of
docs/operations.md ("How it stops"), on SIGTERM or when the arbiter is gone. Then it is not `alive` any more, which the request
loop goes by.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
import traceback
from functools import partial
from types import FrameType
from typing import Any

import gevent
from gevent.pool import Pool
from gevent.select import select
from gevent.server import StreamServer

from service.errors import LedgerdError
from service.server.loop import RequestLoop
from service.server.reports import Report, ReportPipe

log = logging.getLogger("ledgerd.server")

BEAT_S = 1.0  # how often the arbiter hears of a worker
POLL_S = 0.05  # while draining
READY_POLL_S = 0.25
READY_CHECK_S = 2.0  # for one look at the database
CLOSE_S = 1.0  # for the end of tasks and the pool where no time is left
COLLECT_AFTER = 50_000  # objects more than before
MOST_QUEUED = 8192  # connections taken from the queue at the end: above any backlog, so that it ends


def _spare_the_collector() -> None:
    """Python's cyclic garbage collector looks neither at the loaded application again, nor at every 700 objects more.

    Nearly all that a request leaves is freed by its reference count. Of thousands that wait at once each has a hundred
    objects, and the collector would go through all of them again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


class Address:
    """Where a connection came in, for the request loop: a connection may begin to be served when the listener is closed."""

    def __init__(self, name: Any) -> None:
        self._name = name

    def getsockname(self) -> Any:
        """As a socket's."""
        return self._name


class LedgerWorker(RequestLoop):
    """See the module. Our arbiter sets the first three before the fork; under gunicorn's own they stay as they are."""

    reports: ReportPipe | None = None
    waits_until_ready = True  # else it accepts at once: a 503 is a better answer than none where nobody else serves
    owns_listener = True  # else somebody goes on to listen on the socket
    alive: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._end = 0.0

    def init_signals(self) -> None:
        """gunicorn's, but for signals that mean the arbiter alone: a terminal, say, sends the first two to every process."""
        super().init_signals()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    def load_wsgi(self) -> None:
        """Load the application; the arbiter is told why that failed."""
        try:
            super().load_wsgi()
        except Exception as error:
            self._report("failed", f"{type(error).__name__}: {error}")
            raise
        _spare_the_collector()

    def notify(self) -> None:
        """Tell the arbiter that this worker lives, and begin to end when there is no arbiter any more."""
        self.tmp.notify()
        if self.ppid != os.getppid() and self.alive:
            log.error("the arbiter is gone: this worker ends")
            self.alive = False

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """SIGABRT: the arbiter gives this worker up. Say where it is, then end."""
        hub = gevent.get_hub()
        if gevent.getcurrent() is hub:  # nobody keeps the processor: what matters is what the main greenlet waits for
            frame = hub.parent.gr_frame
        log.error("given up while it was at\n%s", "".join(traceback.format_stack(frame)[-8:]))
        super().handle_abort(sig, frame)

    def run(self) -> None:
        """From the loaded application to the last answer."""
        helpers = [gevent.spawn(self._beat), gevent.spawn(self.connections.watch)]
        try:
            if not self.waits_until_ready or self._become_ready():
                self._serve()
        finally:
            gevent.killall(helpers)

    def close_application(self) -> None:
        """Post what waits, join the background tasks and close the pool. Nothing is left to be told then."""
        if self.application is not None:
            self.application.close(max(self._end - time.monotonic(), CLOSE_S))
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # else one that comes now, at the very end, would be the exit status

    def _report(self, state: Any, reason: str = "") -> None:
        if self.reports is not None:
            self.reports.write(Report(self.pid, state, reason))

    def _beat(self) -> None:
        while True:
            self.notify()
            gevent.sleep(BEAT_S)

    def _become_ready(self) -> bool:
        """Ask until the application can serve; false when this worker is to end before that."""
        told = "the database has not answered yet"
        self._report("loaded", told)
        while self.alive:
            try:
                self.application.check(READY_CHECK_S)
            except LedgerdError as error:
                if error.message != told:
                    told = error.message
                    self._report("waiting", told)
                gevent.sleep(READY_POLL_S)
            else:
                return True
        return False

    def _serve(self) -> None:
        servers = [self._server(listener) for listener in self.sockets]
        self._report("up")
        for server in servers:
            server.start()
        self.application.announce(self.sockets[0].getsockname())
        signals = self.PIPE[0]  # each signal puts a byte into it
        while self.alive:
            if select([signals], [], [], BEAT_S)[0]:
                os.read(signals, 4096)
        self._drain(servers)

    def _server(self, listener: Any) -> StreamServer:
        listener.setblocking(1)
        handle = partial(self.handle, Address(listener.getsockname()))
        server = StreamServer(listener, handle=handle, spawn=Pool(self.worker_connections))
        if self.cfg.workers > 1:
            server.max_accept = 1  # leave the next to another worker
        return server

    def _drain(self, servers: list[StreamServer]) -> None:
        """Steps 2 to 4 of "How it stops" in docs/operations.md."""
        self._end = time.monotonic() + self.cfg.graceful_timeout
        self.application.drain()
        self.connections.drain()
        for server in servers:
            server.stop_accepting()
        listening = list(servers)
        while True:
            listening = [server for server in listening if not self._close_listener(server)]
            connections = sum(len(server.pool) for server in servers)
            if not listening and not connections:
                return
            if time.monotonic() > self._end:
                log.error("%d connections are cut: LEDGERD_SHUTDOWN_TIMEOUT_S is over", connections)
                sys.exit(1)
            gevent.joinall([greenlet for server in servers for greenlet in server.pool], timeout=POLL_S)

    def _close_listener(self, server: StreamServer) -> bool:
        """Take what is queued where nobody else will, and close; false while all of this worker's connections are in use."""
        for _ in range(MOST_QUEUED if self.owns_listener else 0):
            if server.full():
                return False
            if (accepted := server.do_read()) is None:
                break
            server.do_handle(*accepted)
        server.close()
        return True
