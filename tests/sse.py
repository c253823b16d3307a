"""A client of GET /api/events that knows no more of it than the form of Server-Sent Events says."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    """A message of the stream: `id` is "" where it has none, `event` likewise; a comment has its text as data."""

    id: str
    event: str
    data: str

    @property
    def json(self) -> Any:
        """The data."""
        return json.loads(self.data)


class Stream:
    """An answer that goes on: its status and headers, then messages as they come. Raises TimeoutError after `timeout_s`."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.lower()] = value.strip()
        self._rest = b""
        self.ended = False

    def body(self) -> bytes:
        """All of an answer that has a length."""
        return self._file.read(int(self.headers["content-length"]))

    def next(self) -> Message:
        """The next message, or comment. Raises EOFError at the end of the stream, ConnectionError where it is cut."""
        while b"\n\n" not in self._rest:
            self._rest += self._chunk()
        text, _, self._rest = self._rest.partition(b"\n\n")
        fields = [line.partition(":")[::2] for line in text.decode().split("\n")]
        found = {name: value.removeprefix(" ") for name, value in fields}
        if "" in found:
            return Message("", "comment", found[""])
        if "retry" in found:
            return Message("", "retry", found["retry"])
        return Message(found.get("id", ""), found.get("event", ""), found.get("data", ""))

    def events(self, number: int) -> list[Message]:
        """The next `number` events; comments are passed over."""
        found: list[Message] = []
        while len(found) < number:
            message = self.next()
            if message.id:
                found.append(message)
            else:
                assert message.event in ("comment", "retry"), message
        return found

    def rest(self) -> list[Message]:
        """All up to the end of the stream."""
        found = []
        try:
            while True:
                found.append(self.next())
        except EOFError:
            return found

    def _chunk(self) -> bytes:
        line = self._file.readline()
        if not line:
            raise ConnectionError("the stream was cut off")
        size = int(line, 16)
        data = self._file.read(size + 2)[:-2]
        if size == 0:
            self.ended = True
            raise EOFError
        return data

    def close(self) -> None:
        """Leave."""
        self._file.close()
        self.sock.close()


@contextmanager
def listen(port: int, key: str, query: str = "", timeout_s: float = 20, **headers: str) -> Iterator[Stream]:
    """A stream for the block; header names are given with underscores."""
    fields = {"Host": "a", "Authorization": f"Bearer {key}", **{n.replace("_", "-"): v for n, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as sock:
        sock.sendall(f"GET /api/events{query} HTTP/1.1\r\n{head}\r\n".encode())
        stream = Stream(sock)
        try:
            yield stream
        finally:
            stream.close()
