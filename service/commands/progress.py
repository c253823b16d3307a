"""A bar on a terminal, for work that takes longer than one would wait without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from service.concurrency.primitives import Lock, monotonic

QUIET_S = 2.0
EVERY_S = 0.2
_WIDTH = 30


def files_and_bytes(files: int, size: int) -> str:
    """How much is done of files."""
    return f"{files} files, {size / 1e6:.0f} MB"


class Progress:
    """What is done of `total()` bytes, or rows, which may still grow; `show` puts it in words.

    Nothing is written before QUIET_S, or but to a terminal.
    """

    def __init__(
        self, total: Callable[[], int], out: TextIO, clock: Callable[[], float] = monotonic,
        show: Callable[[int, int], str] = files_and_bytes,
    ) -> None:
        self._show = show
        self._total = total
        self._out = out if out.isatty() else None
        self._clock = clock
        self._due = clock() + QUIET_S
        self._shown = False
        self._files = self._bytes = 0
        self._lock = Lock()

    def add(self, files: int, size: int) -> None:
        """Count `files` and `size` bytes more. For any thread."""
        if self._out is None:
            return
        with self._lock:
            self._files += files
            self._bytes += size
            if self._clock() >= self._due:
                self._due = self._clock() + EVERY_S
                self._shown = True
                self._draw(self._out)

    def clear(self) -> None:
        """Take the bar away."""
        if self._shown and self._out is not None:
            self._out.write("\r\x1b[K")
            self._out.flush()

    def _draw(self, out: TextIO) -> None:
        share = min(self._bytes / max(self._total(), 1), 1.0)
        bar = "#" * int(share * _WIDTH)
        out.write(f"\r\x1b[K[{bar:{_WIDTH}}] {share:4.0%} {self._show(self._files, self._bytes)}")
        out.flush()
