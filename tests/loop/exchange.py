"""Bytes to a server and what comes back: the answers, and whether the connection went on after them."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

PROBE = b"GET /probe HTTP/1.1\r\nHost: probe.example\r\nConnection: close\r\n\r\n"
TIMEOUT_S = 20.0


@dataclass
class Reply:
    """One answer."""

    status: int
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = True

    @property
    def told(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)


def exchange(port: int, pieces: Iterable[bytes]) -> list[Reply]:
    """Send `pieces`, say that no more comes, and return every answer up to the end of the connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # it may refuse before it has heard everything
            for piece in pieces:
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
        with suppress(OSError):
            while part := sock.recv(1 << 20):
                received += part
    return list(replies(received))


def replies(data: bytes) -> Iterable[Reply]:
    """The answers in `data`, framed as RFC 9112 says; the answers to HEAD are told by a body that is missing."""
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        if not end or not re.fullmatch(r"HTTP/1\.\d \d{3} .*", lines[0]):
            yield Reply(0, body=head + end + data, whole=False)  # not HTTP
            return
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        reply = Reply(int(lines[0].split()[1]), fields)
        if fields.get("transfer-encoding") == "chunked":
            reply.body, reply.whole, data = _chunked(data)
        elif reply.status >= 200 and not data.startswith(b"HTTP/1."):
            length = int(fields["content-length"]) if "content-length" in fields else len(data)
            if reply.status in (204, 304):
                length = 0
            reply.body, data = data[:length], data[length:]
            reply.whole = len(reply.body) == length
        yield reply


def _chunked(data: bytes) -> tuple[bytes, bool, bytes]:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return body, True, data[2:]
        body, data = body + data[:length], data[length + 2 :]
    return body, False, b""
