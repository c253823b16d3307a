"""A process that `ledgerd serve` runs beside the web server, of the same ledger: gRPC, say.

It is started again when it ends by itself, after a pause that grows. The web server serves on meanwhile.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

from service.concurrency.primitives import Parking, monotonic
from service.repository.embedded import die_with_parent

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
CALM_AFTER_S = 60.0  # a process that has run so long failed for a reason of its own
POLL_S = 0.05
NOT_ITS_OWN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")  # systemd's main process is another


class Companion:
    """`ledgerd COMMAND` as a child of this process. `watch` it about four times a second, `stop` it, then `end` it."""

    def __init__(self, command: str, env: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.command = command
        self._was_told = False  # to stop, while it ran
        self._env = {name: value for name, value in env.items() if name not in NOT_ITS_OWN}
        self._say = say
        self._pause_s = FIRST_PAUSE_S
        self._again_at: float | None = None  # when to start it again
        self._process = self._start()

    def watch(self) -> None:
        """Start it again where it has ended and its pause is over."""
        if self._again_at is not None:
            if monotonic() >= self._again_at:
                self._process = self._start()
            return
        status = self._process.poll()
        if status is None:
            return
        if monotonic() - self._started_at > CALM_AFTER_S:
            self._pause_s = FIRST_PAUSE_S
        self._say(f"`ledgerd {self.command}` ended by itself with status {status}; it starts again in {self._pause_s:g} s")
        self._again_at = monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def stop(self) -> None:
        """Tell it to finish what it has."""
        self._again_at = None
        if self.runs:
            self._was_told = True
            self._process.send_signal(signal.SIGTERM)

    @property
    def was_cut(self) -> bool:
        """Whether it was told to stop and says by its status that it could not finish. One that had hardly begun is none."""
        return self._was_told and self._process.poll() not in (None, 0, -signal.SIGTERM)

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def end(self, timeout_s: float) -> None:
        """Make sure that it is gone: told to stop at once, and killed after `timeout_s`."""
        end = monotonic() + timeout_s
        self.stop()
        while self.runs and monotonic() < end:
            Parking().wait(POLL_S)
        if self.runs:
            self._process.kill()
        self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        self._started_at, self._again_at = monotonic(), None
        return subprocess.Popen(
            [sys.executable, "-m", "service", self.command],
            env=self._env,
            start_new_session=True,  # Ctrl-C in a terminal is for the parent, which passes it on
            preexec_fn=die_with_parent,  # noqa: PLW1509  # the parent has one thread
        )
