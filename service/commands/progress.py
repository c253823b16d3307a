"""A bar that says how far a command is, where somebody looks: on standard error, if that is a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO

WIDTH = 30


class Progress:
    """Use it in a `with` statement; the bar is wiped at the end. `total` and what is added are counted in `unit`."""

    def __init__(self, total: int, unit: str, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shows = self._stream.isatty()
        self._total = max(total, 1)
        self._unit = unit
        self._done = 0
        self._shown = ""

    def add(self, done: int) -> None:
        """So much more is done."""
        self._done += done
        share = min(self._done / self._total, 1.0)
        bar = "#" * int(share * WIDTH)
        self._show(f"[{bar:<{WIDTH}}] {share:4.0%} of {self._total:,} {self._unit}")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._show("")

    def _show(self, text: str) -> None:
        if self._shows and text != self._shown:
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()
            self._shown = text
