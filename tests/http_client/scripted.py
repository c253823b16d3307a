"""Servers that answer as a test says, and a wire to a real server that loses what it carries."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

PATIENCE_S = 20.0


@dataclass
class Asked:
    """A request as it came: its first line, its headers in lower case, its body."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Answering(Protocol):
    """What a scripted server does with a request; it may send nothing, or close the connection."""

    def __call__(self, connection: socket.socket, asked: Asked) -> None: ...


@dataclass
class Scripted:
    """Answers each request by the next of `script`, the last of it again and again; `asked` has what came."""

    script: list[Answering]
    tls: ssl.SSLContext | None = None
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._start(self._accept)

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._start(self._serve, connection, len(self._connections))

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), self._secured(connection) as secured, secured.makefile("rb") as reader:
            while (asked := _read(reader, number)) is not None:
                with self._lock:
                    self.asked.append(asked)
                    answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                answer(secured, asked)

    def _secured(self, connection: socket.socket) -> socket.socket:
        try:
            return connection if self.tls is None else self.tls.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            raise

    def connections(self) -> int:
        """How many have come."""
        return len(self._connections)

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@contextlib.contextmanager
def scripted(*script: Answering, tls: ssl.SSLContext | None = None) -> Iterator[Scripted]:
    """A server for the block."""
    server = Scripted(list(script), tls)
    try:
        yield server
    finally:
        server.close()


def answer(status: int, content: Any = None, *, kind: str = "application/json", **headers: str) -> Answering:
    """An answer as ledgerd gives it; header names with underscores."""

    def give(connection: socket.socket, _: Asked) -> None:
        connection.sendall(raw_answer(status, content, kind=kind, **headers))

    return give


def problem(status: int, code: str, **headers: str) -> Answering:
    """An error as ledgerd answers it."""
    content = {"status": status, "code": code, "detail": f"It is {code}.", "errors": [{"field": "amount", "message": "no"}]}
    return answer(status, content, kind="application/problem+json", **headers)


def raw_answer(status: int, content: Any = None, *, kind: str = "application/json", **headers: str) -> bytes:
    """Its bytes."""
    body = b"" if content is None else json.dumps(content).encode()
    named = {"Content-Type": kind, "Content-Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name.replace('_', '-')}: {value}" for name, value in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def lose(connection: socket.socket, _: Asked) -> None:
    """The request is taken, and the connection closed without an answer."""
    connection.shutdown(socket.SHUT_RDWR)


def tear(connection: socket.socket, _: Asked) -> None:
    """Half an answer, then the end."""
    connection.sendall(raw_answer(200, {"data": "x" * 100})[:-50])
    connection.shutdown(socket.SHUT_RDWR)


def hang(connection: socket.socket, _: Asked) -> None:
    """No answer, until the other side closes."""
    connection.settimeout(PATIENCE_S)
    connection.recv(1)


def drip(part: bytes) -> Answering:
    """An answer that begins with `part` and then comes byte by byte, for ever."""

    def give(connection: socket.socket, _: Asked) -> None:
        connection.sendall(part)
        pause = threading.Event()
        with contextlib.suppress(OSError):
            while not pause.wait(0.02):
                connection.sendall(b"x")

    return give


def _read(reader: Any, number: int) -> Asked | None:
    line = reader.readline().decode().strip()
    if not line:
        return None
    headers = {}
    while (header := reader.readline().decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    return Asked(line, headers, reader.read(int(headers.get("content-length", 0))), number)


class Wire:
    """Stands in front of the server on `port`, passes each request on, and loses the answers that `loses` says."""

    def __init__(self, port: int, loses: Callable[[Asked], bool]) -> None:
        self._port = port
        self._loses = loses
        self.lost = 0
        self._server = Scripted([self._pass_on])
        self.url = self._server.url
        self.close = self._server.close

    def _pass_on(self, connection: socket.socket, asked: Asked) -> None:
        lines = [asked.line, *(f"{name}: {value}" for name, value in asked.headers.items()), "connection: close"]
        with socket.create_connection(("127.0.0.1", self._port), PATIENCE_S) as upstream:
            upstream.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + asked.body)
            data = b"".join(iter(lambda: upstream.recv(65_536), b""))
        if self._loses(asked):
            self.lost += 1
            data = data[: len(data) // 2 if self.lost % 2 else 0]
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)
