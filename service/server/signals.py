"""SIGTERM and SIGINT for a process that serves on threads: the first says to stop, a later one to hurry."""

from __future__ import annotations

import signal
from types import FrameType

from service.concurrency.primitives import Parking, monotonic

TWICE_S = 2.0  # a second signal within this time is the first: systemd tells every process, and `serve` its children again


class Signals:
    """Takes them from now on."""

    def __init__(self) -> None:
        self.came = False
        self.hurry = False
        self._first_at = 0.0
        self._parking = Parking()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._take)

    def sleep(self, timeout_s: float) -> None:
        """Sleep until a signal has come or `timeout_s` has passed."""
        self._parking.wait(timeout_s)

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        if not self.came:
            self.came, self._first_at = True, monotonic()
        elif monotonic() - self._first_at >= TWICE_S:
            self.hurry = True
        self._parking.wake()
