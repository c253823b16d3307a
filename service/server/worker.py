"""gunicorn's gevent worker, which ends sooner and loses nothing: idle keep-alive connections do not hold it up.

On SIGTERM it stops accepting, tells /readyz, lets requests in flight finish with `Connection: close`, and ends every
connection that waits for a next request. A request that has reached the socket by then is still answered.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

POLL_S = 0.05


class LedgerWorker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module."""

    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle: set[socket.socket] = set()
        self._told_at = 0.0
        self._application: Any = None

    def load_wsgi(self) -> None:
        """Load the application, and put between it and gunicorn what tells clients that this worker is to stop."""
        super().load_wsgi()
        self._application = self.wsgi
        self.wsgi = self._call

    def _call(self, environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not self.alive:  # an application cannot set `Connection`, gunicorn's Response can
                start_response.__self__.force_close()
            return start_response(status, headers, exc_info)

        return self._application(environ, start)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """One connection, from its first request to its last."""
        self._idle.add(client)
        try:
            super().handle(listener, client, addr)
        finally:
            self._idle.discard(client)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """One request."""
        self._idle.discard(sock)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            self._idle.add(sock)

    def notify(self) -> None:
        """Tell the arbiter that this worker lives; at most once a second, as it is a system call."""
        now = time.monotonic()
        if now - self._told_at >= 1.0:
            self._told_at = now
            super().notify()

    def run(self) -> None:
        """gunicorn's own loop, which sleeps a second at a time, with shorter naps once the worker is to stop."""
        watcher = gevent.spawn(self._drain_when_told)
        try:
            super().run()
        finally:
            watcher.kill()

    def close_application(self) -> None:
        """Post what waits, join the background tasks and close the pool."""
        if self._application is not None:
            self._application.close(float(self.cfg.graceful_timeout))

    def _drain_when_told(self) -> None:
        while self.alive:
            gevent.sleep(POLL_S)
        self._application.drain()
        while True:
            for client in list(self._idle):
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RD)  # what has arrived can still be read, then the connection ends
            gevent.sleep(POLL_S)
