"""Connections that are kept open between two attempts at a target, so that not each event costs a handshake.

One that has been idle for IDLE_S is closed, and none is used for longer than LIFETIME_S, so a name that stands for something
else now is followed by then. What was judged of the address when it was made still holds: it leads to the same peer.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from dataclasses import dataclass, field

from service.concurrency.context import Context
from service.concurrency.primitives import Lock, monotonic
from service.events.targets import Target

IDLE_S = 4.0  # many servers close after 5
LIFETIME_S = 60.0
MOST_IDLE = 128
SWEEP_EVERY_S = 1.0

Peer = tuple[str, str, int]  # scheme, host, port


@dataclass(slots=True)
class Connection:
    """An open one."""

    sock: socket.socket
    peer: Peer
    made_at: float = field(default_factory=monotonic)
    idle_since: float = 0.0


class Connections:
    """Those that are idle. For any number of threads; `run` it as a background task, which closes all at its end."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._idle: deque[Connection] = deque()  # the longest idle first

    def take(self, target: Target) -> Connection | None:
        """One to that target, the last that was used; None where there is none that its peer has not closed."""
        peer = peer_of(target)
        while True:
            with self._lock:
                found = next((each for each in reversed(self._idle) if each.peer == peer), None)
                if found is None:
                    return None
                self._idle.remove(found)
            if not _is_over(found, monotonic()) and not _is_readable(found.sock):
                return found
            found.sock.close()

    def give_back(self, connection: Connection) -> None:
        """It is idle, and good for another exchange."""
        connection.idle_since = monotonic()
        with self._lock:
            self._idle.append(connection)
            surplus = self._idle.popleft() if len(self._idle) > MOST_IDLE else None
        if surplus is not None:
            surplus.sock.close()

    def run(self, ctx: Context) -> None:
        """Close what has been idle for too long, until `ctx` ends; then everything."""
        while not ctx.done.wait(SWEEP_EVERY_S):
            self._close(monotonic())
        self.close()

    def close(self) -> None:
        """Close all that are idle."""
        self._close(None)

    def _close(self, now: float | None) -> None:
        with self._lock:
            over = [each for each in self._idle if now is None or _is_over(each, now)]
            for each in over:
                self._idle.remove(each)
        for each in over:
            each.sock.close()


def peer_of(target: Target) -> Peer:
    """Whom a connection to `target` is good for."""
    return target.scheme, target.host, target.port


def _is_over(connection: Connection, now: float) -> bool:
    return now - connection.idle_since > IDLE_S or now - connection.made_at > LIFETIME_S


def _is_readable(sock: socket.socket) -> bool:
    """Whether the peer has closed it, or says something unasked."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
