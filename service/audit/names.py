"""Names of files, which are bytes, on one line."""

from __future__ import annotations


def escape(name: bytes) -> bytes:
    """The name on one line; longer than before where anything was escaped."""
    return name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def show(name: bytes) -> str:
    """The name for a message: on one line, with bytes that are no UTF-8 as backslashes and numbers."""
    text = escape(name).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
