"""The answer to a plain request: one send where it is of one piece, gunicorn's own Response where it is streamed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from gunicorn import SERVER
from gunicorn.http.errors import InvalidResponseHeader
from gunicorn.http.wsgi import Response
from gunicorn.util import hop_headers, http_date

from service.server.connection import Connection
from service.server.outgoing import Outgoing

Headers = list[tuple[str, str]]
Write = Callable[[bytes], None]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_STATUS = re.compile(r"[0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?")
_NO_TEXT = re.compile(r"[^\t\x20-\x7e\x80-\xff]")  # RFC 9110, 5.5
_WITHOUT_BODY = ("204", "304")


class Answer:
    """What an application says to one request; `start` is its start_response (PEP 3333)."""

    __slots__ = ("_cfg", "_conn", "_headers", "_method", "_status", "_stream", "last")

    def __init__(self, conn: Connection, cfg: Any, method: str, last: bool) -> None:
        self._conn = conn
        self._cfg = cfg
        self._method = method
        self._status: str | None = None
        self._headers: Headers = []
        self._stream: Response | None = None
        self.last = last  # whether the connection ends with it

    @property
    def begun(self) -> bool:
        """Whether something of it has been sent."""
        return self._stream is not None and bool(self._stream.headers_sent)

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Write:
        """Note status and headers. Raises AssertionError the second time without `exc_info`, which it raises when too late."""
        if exc_info is not None and self.begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if self._status is not None and exc_info is None:
            raise AssertionError("start_response was called before")
        self._status, self._headers = status, headers
        return self._write

    def send(self, body: Iterable[bytes], together: Outgoing | None = None) -> None:
        """Send it all, or leave it to `together`, where the caller only waits for the next request then.

        Raises what the application raises, OSError for a lost client, gunicorn's errors for bad headers.
        """
        if self._status is None or self._stream is not None or type(body) is not list or len(body) > 1:
            self._send_in_pieces(body)
            return
        content = body[0] if body else b""
        head = self._head(content)
        if head is None:
            self._send_in_pieces(body)
        elif together is None:
            self._conn.sendall(head + content)
        else:
            together.add(self._conn, head + content)

    def _head(self, content: bytes) -> bytes | None:
        """The head for an answer of one piece; None where its length is not told as it is."""
        assert self._status is not None, "start was called"
        silent = self._method == "HEAD" or self._status[:3] in _WITHOUT_BODY or self._status[:1] == "1"
        length, values = None, []
        parts = [_status_line(self._status), _usual_fields(self.last)]
        for name, value in self._headers:
            shown, is_length = _kind(name)
            if shown:
                parts += shown, value, "\r\n"
                values.append(value)
                if is_length:
                    length = value
        if silent or length != str(len(content)):
            return None
        text = "".join(values)
        if not (text.isascii() and text.isprintable()) and _NO_TEXT.search(text) is not None:  # the first is much faster
            raise InvalidResponseHeader("a value that no header can have")
        parts.append("\r\n")
        return "".join(parts).encode("latin-1")

    def _send_in_pieces(self, body: Iterable[bytes]) -> None:
        for piece in body:
            self._write(piece)
        stream = self._streamed()
        stream.close()
        promised = stream.response_length
        cut = promised is not None and stream.sent < promised and self._method != "HEAD"  # the client waits for the rest
        self.last = cut or bool(stream.should_close())

    def _write(self, piece: bytes) -> None:
        self._streamed().write(piece)

    def _streamed(self) -> Response:
        if self._stream is None:
            if self._status is None:
                raise AssertionError("the application sent a body before it called start_response")
            self._stream = Response(_Request(self._method, self.last), self._conn, self._cfg)
            self._stream.start_response(self._status, self._headers)
        return self._stream


class _Request:
    """What gunicorn's Response asks about its request."""

    version = (1, 1)

    def __init__(self, method: str, last: bool) -> None:
        self.method = method
        self._last = last

    def should_close(self) -> bool:
        return self._last


@lru_cache(256)
def _kind(name: str) -> tuple[str, bool]:
    """A header's name as it is sent, empty where it is of the connection and not the answer's; and whether it is the length.

    Raises InvalidResponseHeader for a name that none can have.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidResponseHeader("a name that no header can have")
    lower = name.lower()
    return "" if lower in hop_headers else name + ": ", lower == "content-length"


@lru_cache(256)
def _status_line(status: str) -> str:
    """Raises InvalidResponseHeader for what is no status."""
    if _STATUS.fullmatch(status) is None:
        raise InvalidResponseHeader("a status that no answer can have")
    return "HTTP/1.1 " + status


def whole(status: str, fields: str, body: bytes) -> bytes:
    """An answer after which the connection goes on. `fields` are lines as they are sent, each with its end."""
    return f"{_status_line(status)}{_usual_fields(False)}{fields}\r\n".encode("latin-1") + body


_second = 0
_usual = ("", "")


def _usual_fields(last: bool) -> str:
    """What every answer has, made once a second."""
    global _second, _usual  # a cache of one value a process
    now = int(time.time())
    if now != _second:
        fields = f"\r\nServer: {SERVER}\r\nDate: {http_date(now)}\r\nConnection: "
        _second, _usual = now, (f"{fields}keep-alive\r\n", f"{fields}close\r\n")
    return _usual[last]
