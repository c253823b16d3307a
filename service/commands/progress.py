"""A bar on a terminal, for work that takes longer than one would wait without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from service.concurrency.primitives import Lock, monotonic

QUIET_S = 2.0
EVERY_S = 0.2
_WIDTH = 30


def and_bytes(things: str) -> Callable[[int, int], str]:
    """How much is done of things that have a size."""
    return lambda count, size: f"{count} {things}, {size / 1e6:.0f} MB"


class Progress:
    """What is done of `total()` bytes, or rows, which may still grow; 0: nobody knows. `show` puts it in words.

    Nothing is written before QUIET_S, or but to a terminal.
    """

    def __init__(
        self, total: Callable[[], int], out: TextIO, clock: Callable[[], float] = monotonic, *, show: Callable[[int, int], str]
    ) -> None:
        self._total = total
        self._show = show
        self._out = out if out.isatty() else None
        self._clock = clock
        self._due = clock() + QUIET_S
        self._shown = False
        self._count = self._size = 0
        self._lock = Lock()

    def add(self, count: int, size: int) -> None:
        """Count `count` things and `size` bytes, or rows, more. For any thread."""
        if self._out is None:
            return
        with self._lock:
            self._count += count
            self._size += size
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
        bar = ""
        if total := self._total():
            share = min(self._size / total, 1.0)
            bar = f"[{'#' * int(share * _WIDTH):{_WIDTH}}] {share:4.0%} "
        out.write(f"\r\x1b[K{bar}{self._show(self._count, self._size)}")
        out.flush()
