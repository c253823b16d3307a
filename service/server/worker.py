"""gunicorn's gevent worker, which ends sooner and loses nothing: idle keep-alive connections do not hold it up.

On SIGTERM it stops accepting, tells /readyz, lets requests in flight finish with `Connection: close`, and ends every
connection that waits for a next request. A request that has reached the socket by then is still answered.
"""

from __future__ import annotations

import time
from typing import Any

import gevent

from service.server.loop import RequestLoop

POLL_S = 0.05


class LedgerWorker(RequestLoop):
    """See the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told_at = 0.0

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
        if self.application is not None:
            self.application.close(float(self.cfg.graceful_timeout))

    def _drain_when_told(self) -> None:
        while self.alive:
            gevent.sleep(POLL_S)
        self.application.drain()
        self.connections.drain()
