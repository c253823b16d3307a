"""A connection as gunicorn's own loop sees it: a gevent socket that begins with what has been read already."""

from __future__ import annotations

import os
from time import monotonic
from typing import Any

import gevent.socket
from gunicorn.http.errors import ParseException

from service.server.connection import BODY_TIMEOUT_S, HEAD_TIMEOUT_S, SLOWEST_BYTES_PER_S, Connection, Phase

RECEIVE_BYTES = 64 * 1024


class HandedOn(gevent.socket.socket):  # type: ignore[misc]  # gevent has no types
    """See the module. It waits for the client with the bounds of `connection`, which stays in charge of ending it."""

    def __init__(self, conn: Connection, already_read: bytes) -> None:
        super().__init__(fileno=os.dup(conn.sock.fileno()))  # of its own: each of the two is closed once
        self.connection = conn
        self._already_read = already_read
        self._taken_over = False
        self._body_phase = Phase.BODY
        self._request: Any = None
        conn.enter(Phase.HEAD, HEAD_TIMEOUT_S)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """What the client has sent: of a body, if an application asks for it, else of the next request."""
        if self._taken_over:
            received: bytes = super().recv(size, flags)
            return received
        if self._already_read:
            data, self._already_read = self._already_read[:size], self._already_read[size:]
            return data
        if self.connection.phase in (Phase.IDLE, Phase.HEAD):
            return self._recv_head(size, flags)
        return self._recv_body(size, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send it all, or raise OSError."""
        self.connection.sendall(data)

    def send(self, data: Any, flags: int = 0, timeout: Any = None) -> int:
        """As sendall."""
        self.connection.sendall(data)
        return len(data)

    def take_over(self) -> HandedOn:
        """The connection is no HTTP any more: from now on it is `receive` and `sendall`, without bounds on the client."""
        self._already_read = self._request.unreader.take_buffered() + self._already_read
        self._taken_over = True
        return self

    def receive(self) -> bytes:
        """Once taken over: what the client has sent, nothing at its end. Raises OSError."""
        early, self._already_read = self._already_read, b""
        return early or self.recv(RECEIVE_BYTES)

    def end_input(self) -> None:
        """See Connection."""
        self.connection.end_input()

    def call_application(self, request: Any) -> None:
        """The head of gunicorn's `request` is there."""
        self._request = request
        self._patience_s = BODY_TIMEOUT_S
        self._body_phase = Phase.BODY
        self.connection.call_application()

    def discard_body(self) -> None:
        """The request is answered: receive what is left of its body, with the patience that is left for it.

        Whoever is too slow, or sends what is no body, is cut off without a word: a proxy would take another answer for that to
        its next request. Raises OSError where the client ends, StopIteration where the next request's beginning is unknown.
        """
        self._body_phase = Phase.DISCARDING
        try:
            while self._request.body.read(RECEIVE_BYTES):
                pass
        except ParseException:
            raise StopIteration from None

    def repeats(self, name: str) -> bool:
        """Whether the request has more than one field of this name, which is in capital letters."""
        names: list[str] = [given for given, _ in self._request.headers]
        return names.count(name) > 1

    def wait_for_request(self) -> None:
        """The request is answered."""
        self.connection.wait_for_request()

    def _recv_head(self, size: int, flags: int) -> bytes:
        data: bytes = super().recv(size, flags)
        if self.connection.phase is Phase.IDLE and data:
            self.connection.enter(Phase.HEAD, HEAD_TIMEOUT_S)
        return data

    def _recv_body(self, size: int, flags: int) -> bytes:
        began = monotonic()
        self.connection.enter(self._body_phase, self._patience_s)
        data: bytes = super().recv(size, flags)
        self.connection.enter(Phase.ANSWERING)
        self._patience_s += len(data) / SLOWEST_BYTES_PER_S - (monotonic() - began)
        return data
