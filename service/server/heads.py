"""Heads that repeat: a client sends the same fields again and again, so what they mean is remembered.

Only a head whose first line is as simple as can be takes this way: that line is taken apart here, and its fields, byte for
byte the same as before, mean what the parser (`plain`) made of them then. Everything else goes to the parser.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from service.server.plain import Plain, read_head

MOST_KNOWN = 256  # fields; then all are read anew
MOST_FIELDS = 1024  # bytes
MOST_LINE = 512
_METHODS = {method.encode(): method for method in ("GET", "POST", "PUT", "PATCH", "DELETE")}
_IN_A_PATH = (string.ascii_letters + string.digits + "_.-/").encode()
_END = b" HTTP/1.1\r\n"
_OF_THE_LINE = ("REQUEST_METHOD", "RAW_URI", "PATH_INFO", "QUERY_STRING")


class Fields:
    """What the fields of a head mean: their part of the environment, and `length` and `last` as in Plain.

    `facts` is the application's, to leave there what it has found out about them; nothing of one request belongs there.
    """

    __slots__ = ("environ", "facts", "last", "length")

    def __init__(self, plain: Plain) -> None:
        self.environ = {key: value for key, value in plain.environ.items() if key not in _OF_THE_LINE}
        self.length, self.last = plain.length, plain.last
        self.facts: dict[str, Any] = {}


Simple = tuple[str, str, Fields]
"""A head whose first line is simple: its method, its path, which has no query and nothing encoded, and its fields."""


class Heads:
    """Reads the heads of those who are trusted alike; `schemes` as in `plain.read_head`."""

    def __init__(self, schemes: Mapping[str, str]) -> None:
        self._schemes = schemes
        self._known: dict[bytes, Fields] = {}

    def take_apart(self, head: bytes) -> Simple | None:
        """The parts of a plain request with a simple first line; None for all others, which `read` decides about."""
        line, _, text = head.partition(_END)
        name, _, target = line.partition(b" ")
        method = _METHODS.get(name)
        if method is None or len(line) > MOST_LINE or target[:1] != b"/" or target[:2] == b"//":
            return None
        if target.translate(None, _IN_A_PATH):
            return None
        fields = self._known.get(text)
        if fields is None:
            plain = read_head(head, {}, self._schemes)
            if plain is None:
                return None
            fields = Fields(plain)
            self._keep(text, fields)
        return method, target.decode(), fields

    def read(self, head: bytes, base: Mapping[str, Any], simple: Simple | None = None) -> Plain | None:
        """As `plain.read_head`; `simple` is what `take_apart` has said of this head."""
        if simple is None:
            return read_head(head, base, self._schemes)
        method, path, fields = simple
        environ = {
            **base, **fields.environ, "REQUEST_METHOD": method, "RAW_URI": path, "PATH_INFO": path, "QUERY_STRING": "",
        }
        return Plain(environ, fields.length, fields.last)

    def _keep(self, text: bytes, fields: Fields) -> None:
        if len(text) <= MOST_FIELDS:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[text] = fields


@lru_cache(16)
def heads_for(schemes: tuple[tuple[str, str], ...]) -> Heads:
    """One for all peers that may tell the scheme alike: those who are trusted to, and those who are not."""
    return Heads(dict(schemes))
