"""Answers that go out together, at the end of the hub's turn.

A send wakes its client. Where that runs on the same host, it often gets the processor at once, from a worker that still has a
dozen requests to answer: the two change places for each of them, and each time both find their caches taken. So the requests
that a turn of the hub has found are answered first, and then the answers are sent, before the hub waits again.
"""

from __future__ import annotations

from service.server.connection import Connection

MOST_BYTES = 16 * 1024  # of one answer: more may have to wait for the client, which only its own greenlet can
MOST_TOGETHER = 32  # then they are sent, so that the first of very many does not wait for all


class Outgoing:
    """What a worker's connections have to send in this turn."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Connection, bytes]] = []

    def add(self, conn: Connection, data: bytes) -> None:
        """Send `data` soon. The caller goes on to wait for the next request of `conn`, and does nothing else with it before.

        What is too large is sent at once; that raises what `Connection.sendall` does.
        """
        if len(data) > MOST_BYTES:
            conn.sendall(data)
            return
        if not self._waiting:
            conn.hub.loop.run_callback(self._end_turn)
        self._waiting.append((conn, data))
        if len(self._waiting) % MOST_TOGETHER == 0:
            self._waiting = [(conn, rest) for conn, data in self._waiting if (rest := conn.send_some(data))]

    def _end_turn(self) -> None:
        """In the hub."""
        waiting, self._waiting = self._waiting, []
        for conn, data in waiting:
            if rest := conn.send_some(data):
                conn.leave_unsent(rest)
