"""A client's connection: what it is waiting for, until when, and how it ends. And all of them, watched over and drained.

Every wait for a client has a bound, and costs no timer: a connection notes its phase and its deadline, and one greenlet a
worker looks at all of them twice a second. Slow senders get time for what they send (the idea of Apache's mod_reqtimeout):
some seconds to begin with, and more for each byte that has come, so a byte a second is not enough, and a slow line is.
"""

from __future__ import annotations

import _socket
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from math import inf
from select import POLLRDHUP
from struct import pack
from time import monotonic

import gevent
from gevent.hub import get_hub
from gevent.monkey import get_original

KEEPALIVE_S = 75.0  # above the idle time of the proxies in front, so that they close first
HEAD_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 10.0  # and a second more for each SLOWEST_BYTES_PER_S
SEND_TIMEOUT_S = 30.0  # without any progress
SLOWEST_BYTES_PER_S = 4096
LINGER_S = 1.0  # a draining worker waits so long for the next request of a connection that was just in use
LINGER_BYTES = 1 << 20  # what is read and thrown away at the end of a connection
STREAM_BUFFER_BYTES = 128 * 1024  # of the kernel, for each stream; it takes twice that
WATCH_S = 0.05
SWEEP_EVERY = 10  # rounds of the watch
LEFT_AFTER_S = 0.1  # a request that has run so long is worth a look whether its client is still there
LOOKS_PER_S = 2000  # about, over all connections: with thousands of requests under way each is looked at less often
READ, WRITE = 1, 2  # libev's names for what to wait for
_poll = get_original("select", "poll")  # gevent's own knows nothing of POLLRDHUP

TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 36\r\n\r\n"
    b"The request did not arrive in time.\n"
)


class Phase(Enum):
    """What a connection is doing; all but ANSWERING wait for the client."""

    IDLE = "waiting for a request"
    HEAD = "receiving the head of a request"
    BODY = "receiving the body of a request"
    DISCARDING = "receiving what is left of a body whose request is answered"
    ANSWERING = "in the application"
    SENDING = "sending to a client that does not read"


class Connection:
    """One client, whose socket it takes over. `receive` and `sendall` let other greenlets run while they wait."""

    __slots__ = (
        "_cut", "_readable", "_unsent", "_wake", "began", "deadline", "hub", "look_at", "look_often", "on_leave", "phase",
        "sock",
    )

    def __init__(self, client: socket.socket) -> None:
        self.sock = _socket.socket(fileno=client.detach())
        self.sock.setblocking(False)
        self.hub = get_hub()
        self._readable = self.hub.loop.io(self.sock.fileno(), READ)
        self._cut = False
        self._unsent = b""
        self._wake: Callable[[], object] | None = None  # whoever waits for something to read
        self.on_leave: Callable[[], None] | None = None
        self.began = 0.0
        self.look_often, self.look_at = True, 0.0  # whether the client is still there; not before that moment
        self.wait_for_request()

    def wait_for_request(self) -> None:
        """Nothing of the next request is there yet."""
        self.phase, self.deadline = Phase.IDLE, monotonic() + KEEPALIVE_S

    def enter(self, phase: Phase, within_s: float = inf) -> None:
        """Be in `phase` for at most `within_s`."""
        self.phase, self.deadline = phase, monotonic() + within_s

    def call_application(self) -> None:
        """The request is there; how long its answer takes is the business of its own deadline."""
        self.on_leave = None
        self.phase, self.deadline, self.began = Phase.ANSWERING, inf, monotonic()
        self.look_often, self.look_at = True, 0.0

    def receive(self, most: int) -> bytes:
        """What the client has sent, up to `most` bytes; nothing at its end. Raises OSError for a broken connection."""
        while True:
            self._wait_until_readable()
            if self._unsent:
                self._send_unsent()
                continue
            try:
                return self.sock.recv(most)
            except BlockingIOError:
                continue

    def _wait_until_readable(self) -> None:
        """As `Hub.wait` does, but the watcher goes on afterwards: to begin again would cost a call of the kernel each time."""
        if not self._readable.active:
            self._readable.start(self._on_readable)
        self._wake = gevent.getcurrent().switch
        try:
            self.hub.switch()
        finally:
            self._wake = None

    def _on_readable(self) -> None:
        """In the hub, again and again for as long as there is something to read."""
        if self._wake is None:
            self._readable.stop()
        else:
            self._wake()

    def sendall(self, data: bytes) -> None:
        """Send `data`. Raises OSError for a broken connection, or when the client reads too slowly."""
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_slowly(memoryview(data)[sent:])

    def _send_slowly(self, rest: memoryview) -> None:
        before = self.phase, self.deadline
        writable = self.hub.loop.io(self.sock.fileno(), WRITE)
        try:
            while rest:
                self.enter(Phase.SENDING, SEND_TIMEOUT_S)
                self.hub.wait(writable)
                with suppress(BlockingIOError):
                    rest = rest[self.sock.send(rest) :]
        finally:
            writable.close()
        self.phase, self.deadline = before

    def send_some(self, data: bytes) -> bytes:
        """Send what the client takes now, and return the rest; none where it is broken or closed, as `receive` will find."""
        try:
            return data[self.sock.send(data) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""

    def leave_unsent(self, rest: bytes) -> None:
        """From the hub, which cannot wait for the client: whoever waits in `receive` sends `rest` first."""
        if self._wake is not None:
            self._unsent = rest
            self._wake()

    def _send_unsent(self) -> None:
        data, self._unsent = self._unsent, b""
        self._send_slowly(memoryview(data))
        self.wait_for_request()

    def when_client_leaves(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called once if the client closes while its request is answered; returns what unregisters it."""
        self.on_leave = callback
        return self._forget

    def _forget(self) -> None:
        self.on_leave = None

    def look_after_client(self) -> None:
        """Call what waits for the client to leave, if it has: it sends no more, whether what it has sent is read or not."""
        end = _poll()
        end.register(self.sock, POLLRDHUP)
        if end.poll(0) and (callback := self.on_leave) is not None:
            self.on_leave = None
            callback()

    def expire(self) -> None:
        """End it: the time for what it waits for is up. Whoever waits finds it closed."""
        with suppress(OSError):
            if self.phase in (Phase.HEAD, Phase.BODY):
                os.write(self.sock.fileno(), TOO_SLOW)
            elif self.phase is Phase.SENDING:  # what the client does not read is not kept for it
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        self.deadline = inf
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def begin_stream(self) -> Callable[[], None]:
        """The answer goes on for as long as the client listens: bound what is kept for it. Returns `cut`.

        Without the second option a client that is gone without a word, as by a broken line, would be noticed when what is
        sent to it has filled the buffers of the kernel.
        """
        self.look_often = False
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER_BYTES)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SEND_TIMEOUT_S * 1000))
        return self.cut

    def cut(self) -> None:
        """End it now; what the client has not read is not kept for it. Whoever waits for it finds it closed.

        Then `close` resets it, which no client takes for the end of an answer. To shut down the sending side would say that
        end before, so that is done only where it wakes a greenlet: what stops that one is before the end.
        """
        self._cut = True
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
            self.sock.shutdown(socket.SHUT_RDWR if self.phase is Phase.SENDING else socket.SHUT_RD)

    def end_input(self) -> None:
        """No more of the body is wanted: whoever waits for the client finds an end. What was read ahead is still read."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)

    def end_if_quiet(self) -> None:
        """No more requests are awaited; one that has arrived already can still be read."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RD)

    def linger(self) -> None:
        """Before `close`, let the client read the last answer: what it still sends would reset the connection.

        (RFC 9112, 9.6.) What is cut has none.
        """
        if self._cut:
            return
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return  # it sends nothing
        self.sock.shutdown(socket.SHUT_WR)
        self.enter(Phase.IDLE, LINGER_S)
        left = LINGER_BYTES
        while left > 0 and (data := self.receive(left)):
            left -= len(data)

    def close(self) -> None:
        """Let go of the socket."""
        self._readable.close()
        self.sock.close()


class Connections:
    """All connections of a worker."""

    def __init__(self) -> None:
        self._all: set[Connection] = set()
        self._draining_since = inf

    def add(self, conn: Connection) -> None:
        """From now on it is watched over."""
        self._all.add(conn)

    def discard(self, conn: Connection) -> None:
        """It has ended."""
        self._all.discard(conn)

    def __len__(self) -> int:
        return len(self._all)

    def drain(self) -> None:
        """End each as soon as it waits for a request: at once, or within LINGER_S where it was just in use."""
        if self._draining_since == inf:
            self._draining_since = monotonic()

    def look_after_clients(self, now: float, sweep: bool = True) -> int:
        """Look for those that have left while they are answered, but not at all of very many; returns how many were looked at.

        A `sweep` looks at streams as well.
        """
        under_way = [
            conn for conn in self._all
            if conn.on_leave is not None and now - conn.began > LEFT_AFTER_S and (sweep or conn.look_often)
        ]
        again_at, looked_at = now + len(under_way) / LOOKS_PER_S - WATCH_S / 2, 0
        for conn in under_way:
            if now >= conn.look_at:
                conn.look_at = again_at
                conn.look_after_client()
                looked_at += 1
        return looked_at

    def watch(self) -> None:
        """The body of a greenlet: end what takes too long, and notice clients that leave."""
        rounds = 0
        while True:
            gevent.sleep(WATCH_S)
            rounds += 1
            now, sweep = monotonic(), rounds % SWEEP_EVERY == 0
            self.look_after_clients(now, sweep)
            if not sweep and now < self._draining_since:
                continue
            for conn in tuple(self._all):
                if sweep and now >= conn.deadline:
                    conn.expire()
                elif conn.phase in (Phase.IDLE, Phase.DISCARDING) and now >= self._draining_since:
                    idle_since = conn.deadline - KEEPALIVE_S
                    if now >= min(idle_since, self._draining_since) + LINGER_S:
                        conn.end_if_quiet()
