"""Lines that are written together: a write wakes whoever reads them, and that costs several times what the line does.

Lines wait for WITHIN_S at most, or until PIPE_BUF bytes have come together, which a pipe takes whole or not at all. A process
that is killed takes along what waits.
"""

from __future__ import annotations

from collections.abc import Callable
from select import PIPE_BUF

from service.concurrency.clock import SYSTEM_CLOCK
from service.concurrency.primitives import RLock
from service.telemetry.output import Output

WITHIN_S = 0.05


class Gathered:
    """Gathers lines for `output`; `close` writes the last of them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lock = RLock()  # nothing under it waits
        self._lines: list[bytes] = []
        self._size = 0
        self._forget: Callable[[], None] | None = None

    def write(self, line: bytes) -> None:
        """Write `line`, which ends with a line break, soon or never."""
        with self._lock:
            if self._size + len(line) > PIPE_BUF:
                self._write()
            self._lines.append(line)
            self._size += len(line)
            if self._forget is None:
                self._forget = SYSTEM_CLOCK.call_at(SYSTEM_CLOCK.now() + WITHIN_S, self._in_time)

    def close(self) -> None:
        """Write what waits; nothing is to come any more."""
        with self._lock:
            if self._forget is not None:
                self._forget()
            self._in_time()

    def _in_time(self) -> None:
        with self._lock:
            self._forget = None
            self._write()

    def _write(self) -> None:
        if self._lines:
            self._output.write(b"".join(self._lines))
            self._lines, self._size = [], 0
