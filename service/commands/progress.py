"""A line on a terminal that tells how far something is. Where standard error is none, nothing is told."""

from __future__ import annotations

import sys
from typing import TextIO

from service.concurrency.primitives import monotonic

EVERY_S = 0.2


class Progress:
    """How many `things` are done, how many a second, and how much of all bytes has been read, where that number is known."""

    def __init__(self, things: str, *, all_bytes: int = 0, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._is_shown = self._out.isatty()
        self._things = things
        self._all_bytes = all_bytes
        self._began_at = self._told_at = monotonic()
        self.read_bytes = 0

    def tell(self, done: int) -> None:
        """`done` are done; told a few times a second at most."""
        now = monotonic()
        if not self._is_shown or now - self._told_at < EVERY_S:
            return
        self._told_at = now
        part = f", {min(100, 100 * self.read_bytes // self._all_bytes)}% read" if self._all_bytes else ""
        rate = done / (now - self._began_at)
        self._out.write(f"\r\x1b[K{done:,} {self._things}, {rate:,.0f}/s{part}")
        self._out.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._is_shown:
            self._out.write("\r\x1b[K")
            self._out.flush()
