"""Manifests: the lines that `sha256sum`, `md5sum` and `b2sum` write and, with `-c`, read.

A line is the digest in hexadecimal, two spaces, and the name: bytes, as the file system has them. Where a name has a newline,
a carriage return or a backslash, these are escaped and the line begins with a backslash, as GNU's tools do it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple

from service.audit.digest import ALGORITHMS, Digest
from service.audit.names import escape, show

_LINE = re.compile(rb"(\\?)([0-9a-fA-F]+) [ *](.+)", re.DOTALL)
_ESCAPE = re.compile(rb"\\(.?)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}


class Entry(NamedTuple):
    """What a manifest says of a file: line `number` says that its digest is `value`."""

    name: bytes
    value: str
    number: int


class BadLine(NamedTuple):
    """A line that says nothing of a file, and why."""

    number: int
    text: str


def write_lines(digests: Iterable[Digest]) -> bytes:
    """The manifest. A file called `-` is written as `./-`: by its name the tools mean their standard input."""
    lines = []
    for digest in digests:
        name = escape(digest.name)
        mark = b"\\" if len(name) > len(digest.name) else b""
        lines.append(b"%b%b  %b\n" % (mark, digest.value.encode(), b"./-" if name == b"-" else name))
    return b"".join(lines)


def read_lines(text: bytes, algorithm: str) -> tuple[dict[bytes, Entry], list[BadLine]]:
    """The entries by name, and the lines that are none. Empty lines and those that begin with `#` say nothing.

    A name that is absolute, has a part `..`, or was in a line before makes its line a bad one.
    """
    digits = 2 * ALGORITHMS[algorithm]().digest_size
    entries: dict[bytes, Entry] = {}
    bad: list[BadLine] = []
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line or line.startswith(b"#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or len(match[2]) != digits:
            bad.append(BadLine(number, f"expected {digits} hexadecimal digits ({algorithm}), two spaces and a name"))
            continue
        name = match[3]
        if match[1]:
            if unknown := [found for found in _ESCAPE.findall(name) if found not in _ESCAPED]:
                bad.append(BadLine(number, f"expected \\\\, \\n or \\r after the first backslash, not \\{show(unknown[0])}"))
                continue
            name = _ESCAPE.sub(lambda found: _ESCAPED[found[1]], name)
        leads_up = b".." in name.split(b"/")  # also below the folder: what comes before it may be a link
        name = os.path.normpath(name)
        if leads_up or b"\0" in name or name.startswith(b"/") or name == b".":
            bad.append(BadLine(number, f"expected the name of a file below the folder, not {show(match[3])}"))
        elif name in entries:
            bad.append(BadLine(number, f"{show(name)} was in line {entries[name].number} before"))
        else:
            entries[name] = Entry(name, match[2].decode().lower(), number)
    return entries, bad
