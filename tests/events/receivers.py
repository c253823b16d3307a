"""Receivers of webhooks that behave in every way there is: servers on loopback, each answering by a function."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Talk = Callable[[socket.socket], None]


def read_request(conn: socket.socket) -> tuple[bytes, bytes]:
    """The head and the body of a request with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(conn)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += _some(conn)
    return head, body


def _some(conn: socket.socket) -> bytes:
    data = conn.recv(65_536)
    if not data:
        raise ConnectionError("the client left")
    return data


def saying(answer: bytes) -> Talk:
    """Reads the request, says `answer`, and closes."""

    def talk(conn: socket.socket) -> None:
        read_request(conn)
        conn.sendall(answer)

    return talk


class Receiver:
    """On a port of its own; `heads` and `connections` are what came."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None) -> None:
        self._talk = talk
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self.ended = threading.Event()
        self._threads = [threading.Thread(target=self._serve)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(conn)
            thread = threading.Thread(target=self._talk_to, args=(conn,))
            self._threads.append(thread)
            thread.start()

    def _talk_to(self, conn: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                conn = self._tls.wrap_socket(conn, server_side=True)
                self._open.append(conn)
            self._talk(conn)
        with contextlib.suppress(OSError):
            conn.close()
        self.ended.set()

    def close(self) -> None:
        """Cut every connection and join every thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for conn in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(conn, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for conn in self._open:
            conn.close()


@contextmanager
def receiving(talk: Talk, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver for the block."""
    receiver = Receiver(talk, tls)
    try:
        yield receiver
    finally:
        receiver.close()
