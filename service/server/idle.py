"""gunicorn's own request loop, which knows the connections that wait for a request and can end them.

A worker that drains relies on four things here: `application`, `connections.watch` (the body of a greenlet),
`connections.drain`, and that each answer of a worker that is not `alive` any more is the last of its connection.
"""

from __future__ import annotations

import contextlib
import socket
import time
from math import inf
from typing import Any

import gevent
from gunicorn.workers.ggevent import GeventWorker

SPARED_S = 1.0
WATCH_S = 0.05


class Connections:
    """The idle ones. Add one when it begins to wait for a request, discard it when a request is there or it closes."""

    def __init__(self) -> None:
        self._since: dict[socket.socket, float] = {}
        self._draining_since = inf

    def add(self, connection: socket.socket) -> None:
        """It waits from now on."""
        self._since[connection] = time.monotonic()

    def discard(self, connection: socket.socket) -> None:
        """It does not wait, or is closed."""
        self._since.pop(connection, None)

    def drain(self) -> None:
        """From now on end those that have waited for SPARED_S and more: their next read finds what has arrived, then the end.

        A client that was answered, or accepted, a moment ago may have its next request on the way; that one is answered, as
        the last of its connection. Closing under it would look like a lost request.
        """
        self._draining_since = time.monotonic()

    def watch(self) -> None:
        """The body of a greenlet: end what is to end."""
        while True:
            gevent.sleep(WATCH_S)
            if self._draining_since == inf:
                continue
            before = time.monotonic() - SPARED_S
            for connection in [each for each, since in self._since.items() if since <= before]:
                self.discard(connection)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)


class RequestLoop(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """See the module."""

    wsgi: Any  # what gunicorn's loop calls
    application: Any = None  # what it stands for

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections = Connections()

    def load_wsgi(self) -> None:
        """Load the application, and put between it and gunicorn what tells clients that this worker is to stop."""
        super().load_wsgi()
        self.application, self.wsgi = self.wsgi, self._call

    def _call(self, environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not self.alive:  # an application cannot set `Connection`, gunicorn's Response can
                start_response.__self__.force_close()
            return start_response(status, headers, exc_info)

        return self.application(environ, start)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """One connection, from its first request to its last."""
        self.connections.add(client)
        try:
            super().handle(listener, client, addr)
        finally:
            self.connections.discard(client)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """One request."""
        self.connections.discard(sock)
        try:
            return super().handle_request(listener_name, req, sock, addr)
        finally:
            self.connections.add(sock)
