"""A WebSocket client that sends whatever bytes it is told to."""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from contextlib import suppress
from types import TracebackType

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: int = 0) -> bytes:
    """A frame of RFC 6455, 5.2; `rsv` are the three reserved bits as a number."""
    first, masked, length = (fin << 7) | (rsv << 4) | opcode, 0x80 if mask else 0, len(payload)
    if length < 126:
        head = bytes((first, masked | length))
    elif length < 65_536:
        head = bytes((first, masked | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, masked | 127)) + length.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))


class RawSocket:
    """A connection after its handshake, the answer to which is in `status` and `headers`.

    `changed` are headers that differ from a good handshake's, None for one left out; `body` is sent right behind.
    """

    def __init__(
        self, port: int, key: str, query: str = "", *, changed: dict[str, str | None] | None = None, body: bytes = b"",
        receive_buffer: int | None = None, timeout_s: float = 20,
    ) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(timeout_s)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(("127.0.0.1", port))
        fields: dict[str, str | None] = {
            "Host": "a", "Authorization": f"Bearer {key}", "Upgrade": "websocket", "Connection": "keep-alive, Upgrade",
            "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": b64encode(os.urandom(16)).decode(), **(changed or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
        self.sock.sendall(f"GET /api/events/ws{query} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        self._file = self.sock.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        self.headers: dict[str, str] = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.lower()] = value.strip()

    def body(self) -> bytes:
        """Of an answer that has a length."""
        return self._file.read(int(self.headers["content-length"]))

    def send(self, data: bytes) -> None:
        """Send it, as far as the server takes it."""
        with suppress(ConnectionError):  # it has heard enough
            self.sock.sendall(data)

    def next(self) -> tuple[int, bytes]:
        """The next frame: its opcode and payload. Raises EOFError at the end of the connection."""
        head = self._file.read(2)
        if len(head) < 2:
            raise EOFError
        assert head[0] & 0x70 == 0, "reserved bits"
        assert head[1] & 0x80 == 0, "a server masks nothing"
        assert head[0] & 0x80, "every message is one frame"
        length = head[1]
        if length > 125:
            length = int.from_bytes(self._file.read(2 if length == 126 else 8), "big")
        payload = self._file.read(length)
        if len(payload) < length:
            raise EOFError
        return head[0] & 0x0F, payload

    def until(self, opcode: int) -> tuple[int, bytes]:
        """The next frame of that opcode; others before it are passed over."""
        while True:
            found = self.next()
            if found[0] == opcode:
                return found

    def everything(self) -> list[tuple[int, bytes]]:
        """All frames until the connection ends, be it by a reset."""
        found = []
        try:
            while True:
                found.append(self.next())
        except (EOFError, ConnectionError):
            return found

    def at_end(self) -> bool:
        """Whether nothing follows."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Leave without a word."""
        self._file.close()
        self.sock.close()

    def __enter__(self) -> RawSocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
