"""Background tasks: named, never lost from sight, and joined at the end.

A task is a function that takes a context and returns when that is cancelled. Guarantees:

- An error of a task, exit() among them, is logged with its traceback and ends nothing else. Where that is asked for, the task
  is started again after a pause that doubles from 0.1 s up to 5 s, and is short again after 30 s without an error.
- After `stop` nothing is started again, and quiet is only a task that says that its context has ended.
- A task that is killed on purpose (GreenletExit) is logged and gone.
- `statuses` tells what runs, since when, and how often it failed. A name belongs to one running task.
- `stop` cancels and joins all of them, and names those that did not end in time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from service.concurrency.context import Context, origin, with_cancel
from service.concurrency.primitives import Lock, Parking, Thread, monotonic

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
CALM_AFTER_S = 30.0


@dataclass(slots=True)
class TaskStatus:
    """A background task: when its present run began, on its context's clock, how often it failed."""

    name: str
    started_at: float
    failures: int = 0


class Tasks:
    """The background tasks of one owner."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = with_cancel(ctx)
        self._lock = Lock()
        self._running: dict[str, tuple[TaskStatus, Thread]] = {}

    def spawn(self, name: str, task: Callable[[Context], object], *, restart: bool = True) -> None:
        """Start `task` under `name`. Raises ValueError if that name is running, RuntimeError after `stop`."""
        status = TaskStatus(name, self._ctx.clock.now())
        thread = Thread(target=self._run, args=(status, task, restart), name=name, daemon=True)
        with self._lock:
            if self._ctx.error() is not None:
                raise RuntimeError(f"cannot start {name}: the tasks are stopped")
            if name in self._running:
                raise ValueError(f"a task named {name} is running")
            self._running[name] = status, thread
            try:
                thread.start()  # under the lock: `stop` cannot join what has not begun
            except RuntimeError:  # the system gives no thread
                del self._running[name]
                raise

    def statuses(self) -> list[TaskStatus]:
        """The tasks that run now, or wait to be started again."""
        with self._lock:
            return [status for status, _ in self._running.values()]

    def names(self) -> list[str]:
        """Their names."""
        return [status.name for status in self.statuses()]

    def stop(self, timeout_s: float) -> list[str]:
        """Cancel every task and wait up to `timeout_s` in all; returns the names of those that have not ended."""
        self._ctx.cancel()
        end = monotonic() + timeout_s
        with self._lock:
            threads = {name: thread for name, (_, thread) in self._running.items()}
        for thread in threads.values():
            thread.join(max(end - monotonic(), 0.0))
        return [name for name, thread in threads.items() if thread.is_alive()]

    def _run(self, status: TaskStatus, task: Callable[[Context], object], restart: bool) -> None:
        try:
            self._run_again_and_again(status, task, restart)
        finally:
            with self._lock:
                del self._running[status.name]

    def _run_again_and_again(self, status: TaskStatus, task: Callable[[Context], object], restart: bool) -> None:
        pause_s = FIRST_PAUSE_S
        while self._ctx.error() is None:
            status.started_at = self._ctx.clock.now()
            try:
                task(self._ctx)
                return
            except (Exception, SystemExit) as error:  # a task that calls exit() too: nothing may end unseen
                end = self._ctx.error()
                if origin(error) is end:
                    return
                status.failures += 1
                if not restart or end is not None:
                    log.exception("background task %s failed", status.name)
                    return
                pause_s = FIRST_PAUSE_S if self._ctx.clock.now() - status.started_at > CALM_AFTER_S else pause_s
                log.exception("background task %s failed; it starts again in %.1f s", status.name, pause_s)
            except BaseException:
                log.exception("background task %s was killed", status.name)
                raise
            self._ctx.park(Parking(), pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
