"""Background tasks: named, never lost from sight, and joined at the end.

A task is a function that takes a context and returns when that is cancelled. If it raises instead, the error is logged and
the task is started again after a pause that doubles from 0.1 s up to 5 s. `Tasks.stop` cancels and joins all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from service.concurrency.context import Context, with_cancel
from service.concurrency.primitives import Parking, Thread, monotonic

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
CALM_AFTER_S = 30.0


class Tasks:
    """The background tasks of one owner."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = with_cancel(ctx)
        self._running: dict[str, Thread] = {}

    def spawn(self, name: str, task: Callable[[Context], None]) -> None:
        """Start `task` under `name`. Raises ValueError if that name is running, RuntimeError after `stop`."""
        if self._ctx.error() is not None:
            raise RuntimeError(f"cannot start {name}: the tasks are stopped")
        if name in self.names():
            raise ValueError(f"a task named {name} is running")
        thread = Thread(target=self._run, args=(name, task), name=name, daemon=True)
        self._running[name] = thread
        thread.start()

    def names(self) -> list[str]:
        """The tasks that run now."""
        return [name for name, thread in self._running.items() if thread.is_alive()]

    def stop(self, timeout_s: float) -> list[str]:
        """Cancel every task and wait up to `timeout_s` in all; returns the names of those that have not ended."""
        self._ctx.cancel()
        end = monotonic() + timeout_s
        for thread in self._running.values():
            thread.join(max(end - monotonic(), 0.0))
        return self.names()

    def _run(self, name: str, task: Callable[[Context], None]) -> None:
        pause_s = FIRST_PAUSE_S
        while self._ctx.error() is None:
            started = monotonic()
            try:
                task(self._ctx)
            except Exception:
                if self._ctx.error() is not None:
                    return
                pause_s = FIRST_PAUSE_S if monotonic() - started > CALM_AFTER_S else pause_s
                log.exception("background task %s failed; it starts again in %.1f s", name, pause_s)
                self._pause(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                return

    def _pause(self, pause_s: float) -> None:
        parking = Parking()
        forget = self._ctx.on_done(parking.wake)
        parking.wait(pause_s)
        forget()
