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


class Heads:
    """Reads the heads of those who are trusted alike; `schemes` as in `plain.read_head`."""

    def __init__(self, schemes: Mapping[str, str]) -> None:
        self._schemes = schemes
        self._known: dict[bytes, Plain] = {}  # what follows the first line, and a request of it without that line

    def read(self, head: bytes, base: Mapping[str, Any]) -> Plain | None:
        """As `plain.read_head`."""
        end = head.find(_END, 0, MOST_LINE)
        name, _, target = head[: max(end, 0)].partition(b" ")
        method = _METHODS.get(name)
        if method is None or target.translate(None, _IN_A_PATH) or not target.startswith(b"/") or target.startswith(b"//"):
            return read_head(head, base, self._schemes)
        fields = head[end + len(_END) :]
        known = self._known.get(fields)
        if known is None:
            known = read_head(head, {}, self._schemes)
            if known is None:
                return None
            for key in _OF_THE_LINE:
                del known.environ[key]
            self._keep(fields, known)
        path = target.decode()
        environ = {
            **base, **known.environ, "REQUEST_METHOD": method, "RAW_URI": path, "PATH_INFO": path, "QUERY_STRING": "",
        }
        return Plain(environ, known.length, known.last)

    def _keep(self, fields: bytes, plain: Plain) -> None:
        if len(fields) <= MOST_FIELDS:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[fields] = plain


@lru_cache(16)
def heads_for(schemes: tuple[tuple[str, str], ...]) -> Heads:
    """One for all peers that may tell the scheme alike: those who are trusted to, and those who are not."""
    return Heads(dict(schemes))
