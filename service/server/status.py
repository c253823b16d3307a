"""What the arbiter tells systemd, and when: each message once, at the moment it becomes true."""

from __future__ import annotations

import logging
import time
from math import inf

from service import __version__
from service.server.crew import Crew
from service.server.notify import Notifier, monotonic_usec

log = logging.getLogger("ledgerd.server")

SPARE_S = 10.0  # what a start may take above the time that a worker has to come up
LEAST_FRESH_S = 3.0  # a heartbeat comes every second, later on a busy machine


class Status:
    """The state and the STATUS= line, of which `reload_failure` is a part until a reload works."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._phase = "starting"
        self._ready = False
        self._line = ""
        self._next_ping = 0.0
        self.reload_failure = ""

    @property
    def interval_s(self) -> float:
        """Seconds between two WATCHDOG=1: half of what systemd waits for one."""
        return self._notifier.watchdog_s / 2 if self._notifier.watchdog_s else inf

    @property
    def fresh_s(self) -> float:
        """A worker heard of within these seconds counts as alive."""
        return max(self.interval_s, LEAST_FRESH_S)

    def starting(self, boot_timeout_s: float) -> None:
        """The start may take as long as workers may, above what the unit says."""
        self._notifier.send(EXTEND_TIMEOUT_USEC=_usec(boot_timeout_s + SPARE_S), STATUS="starting")

    def reloading(self, boot_timeout_s: float) -> None:
        """The next READY=1 ends it, whether the reload worked or not."""
        self._phase, self._ready = "reloading", False
        longest = _usec(boot_timeout_s + SPARE_S)
        self._notifier.send(RELOADING=1, MONOTONIC_USEC=monotonic_usec(), EXTEND_TIMEOUT_USEC=longest, STATUS="reloading")

    def stopping(self, timeout_s: float) -> None:
        """There is no way back. The stop may take `timeout_s`, above what the unit says."""
        self._phase, self._ready = "stopping", True
        log.info("stopping: requests in flight are finished")
        self._notifier.send(STOPPING=1, EXTEND_TIMEOUT_USEC=_usec(timeout_s), STATUS="stopping")

    def tell(self, crew: Crew, wanted: int, *, reloading: bool, alive: bool) -> None:
        """Once a turn of the loop; `alive` says that a worker was heard of within `fresh_s`."""
        ready = not self._ready and not reloading and (crew.ready or (self._phase == "reloading" and crew.serving))
        if ready:
            self._phase, self._ready = "ready", True
            log.info("%d of %d workers are ready", len(crew.serving), wanted)
        line = self._text(crew, wanted)
        if ready:
            self._notifier.send(READY=1, STATUS=line)
        elif line != self._line:
            self._notifier.send(STATUS=line)
        self._line = line
        if alive and self._notifier.watchdog_s and time.monotonic() >= self._next_ping:
            self._next_ping = time.monotonic() + self.interval_s
            self._notifier.send(WATCHDOG=1)

    def _text(self, crew: Crew, wanted: int) -> str:
        new = [member for member in crew.serving if member.generation == crew.generation]
        text = f"{len(new if self._phase == 'reloading' else crew.serving)} of {wanted} workers ready"
        if self._phase != "ready":
            text = f"{self._phase}: {text}"
        if draining := len(crew.members) - len(crew.staying):
            text += f", {draining} draining"
        if waiting := [member.said for member in crew.staying if not member.up]:
            text += f", {len(waiting)} not up: {waiting[-1]}"
        if self.reload_failure:
            text += f"; the last reload failed: {self.reload_failure}"
        return f"{text}; ledgerd {__version__}"


def _usec(seconds: float) -> int:
    return int(seconds * 1e6)
