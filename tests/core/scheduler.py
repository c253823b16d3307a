"""A controlled scheduler: runs code of the core one step at a time, in an order that a test chooses.

Each task is a greenlet. Wherever the code takes or lets go of a lock, the scheduler decides who goes on: a seed, or the
choices that Hypothesis draws and shrinks, is one interleaving, and can be had again. Time is virtual: it passes when
nobody can go on. Where then nobody waits for a time either, that is a deadlock, and told as one.

    with Scheduler(Random(seed).randrange) as run:
        run.spawn(channel.send, run.ctx, 1)
        run.spawn(channel.receive, run.ctx)
        run.until_done()
"""

from __future__ import annotations

import importlib
import pkgutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from types import TracebackType
from typing import Any
from unittest.mock import patch

from greenlet import getcurrent, greenlet

import service.concurrency as core
from service.concurrency.context import Context, background
from service.concurrency.primitives import Parking

PATIENCE_S = 30.0
MODULES = [importlib.import_module(f"service.concurrency.{module.name}") for module in pkgutil.iter_modules(core.__path__)]
MOST_STEPS = 200_000


class Deadlock(Exception):
    """Nobody can go on."""


class Task:
    """A call under the scheduler."""

    def __init__(self, number: int, run: Callable[[], Any]) -> None:
        self.number = number
        self.value: Any = None
        self.error: BaseException | None = None
        self.ended = False
        self.waits_for: object = None
        self.wakes_at = inf
        self._run = run
        self.greenlet = greenlet(self._body)

    def _body(self) -> None:
        try:
            self.value = self._run()
        except BaseException as error:  # noqa: BLE001  # raised by result()
            self.error = error
        self.ended = True

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        assert self.ended, f"task {self.number} has not ended"
        if self.error is not None:
            raise self.error
        return self.value


class Scheduler:
    """See the module. `choose(n)` is a number below n: which of n tasks goes on."""

    def __init__(self, choose: Callable[[int], int]) -> None:
        self.tasks: list[Task] = []
        self.now = 0.0
        self.ctx: Context = background(_VirtualClock(self))
        self._choose = choose
        self._patches = ExitStack()
        self._main = getcurrent()

    def spawn(self, task: Callable[..., Any], *args: Any, **kwargs: Any) -> Task:
        """Add a task; it does not begin before `until_done` or `until_parked`."""
        added = Task(len(self.tasks), lambda: task(*args, **kwargs))
        self.tasks.append(added)
        return added

    def until_parked(self) -> None:
        """Run until every task has ended or waits; time does not pass."""
        for _ in range(MOST_STEPS):
            ready = [task for task in self.tasks if not task.ended and task.waits_for is None]
            if not ready:
                return
            task = ready[self._choose(len(ready))]
            task.greenlet.switch()
            if task.ended:
                self.let_go(task)
        raise AssertionError(f"{MOST_STEPS} steps were not enough")

    def until_done(self) -> None:
        """Run until every task has ended. Raises Deadlock when nobody can go on."""
        while True:
            self.until_parked()
            if all(task.ended for task in self.tasks):
                return
            self.pass_time()

    def pass_time(self, until: float | None = None) -> None:
        """Turn the clock to the next time that somebody waits for, or to `until`. Raises Deadlock where there is none."""
        waiting = [task for task in self.tasks if not task.ended]
        self.now = min((task.wakes_at for task in waiting), default=inf) if until is None else until
        if self.now == inf:
            raise Deadlock(f"tasks {[task.number for task in waiting]} wait for each other")
        for task in waiting:
            if task.wakes_at <= self.now:
                task.waits_for = None

    def kill(self, task: Task, error: type[BaseException] = SystemExit) -> None:
        """Raise `error` where `task` waits, and let everybody go on."""
        task.waits_for, task.wakes_at = None, inf
        task.greenlet.throw(error)
        if task.ended:
            self.let_go(task)
        self.until_parked()

    def step(self) -> None:
        """In a task: let the scheduler choose who goes on."""
        if getcurrent() is not self._main:
            self._main.switch()

    def wait_for(self, thing: object, timeout_s: float) -> bool:
        """In a task: wait until `thing` is let go; False when the time was up."""
        task = self.current()
        task.waits_for, task.wakes_at = thing, inf if timeout_s < 0 else self.now + timeout_s
        self._main.switch()
        late, task.wakes_at = task.wakes_at <= self.now, inf
        return not late

    def let_go(self, thing: object) -> None:
        """Those who wait for `thing` can go on."""
        for task in self.tasks:
            if task.waits_for is thing:
                task.waits_for, task.wakes_at = None, inf

    def current(self) -> Task:
        """The task that runs."""
        here = getcurrent()
        found = [task for task in self.tasks if task.greenlet is here]
        if not found:
            raise Deadlock("the test itself would wait, outside of any task")
        return found[0]

    def current_number(self) -> int:
        """Of the task that runs; -1 outside of any."""
        return -1 if getcurrent() is self._main else self.current().number

    def __enter__(self) -> Scheduler:
        for thread in threading.enumerate():
            if thread.name == "timer":  # it lingers after the last time that somebody waits for, and is no task of this one
                thread.join(PATIENCE_S)
                assert not thread.is_alive(), "somebody waits for a time outside of the scheduler"
        names = {
            "Lock": lambda: _Lock(self),
            "Thread": lambda **kwargs: _Thread(self, **kwargs),
            "current": self.current_number,
            "RLock": lambda: _RLock(self),
            "_tree": _RLock(self),
        }
        for module in MODULES:
            for name, instead in names.items():
                if hasattr(module, name):
                    self._patches.enter_context(patch.object(module, name, instead))
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        for task in self.tasks:
            while task.greenlet:
                task.greenlet.throw()  # GreenletExit, at every switch that its clean-up comes by, so that no stack is left
        self._patches.close()


class _Lock:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        self._scheduler.step()
        while self._held:
            if not blocking or not self._scheduler.wait_for(self, timeout):
                return False
        self._held = True
        return True

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("release of a lock that is free")
        self._held = False
        self._scheduler.let_go(self)
        self._scheduler.step()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class _RLock:
    """A section under it never waits, and yet the scheduler may let others go on in it: as the native one does for threads."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = _Lock(scheduler)
        self._holder: greenlet | None = None
        self._depth = 0

    def __enter__(self) -> None:
        if self._holder is not getcurrent():
            self._lock.acquire()
            self._holder = getcurrent()
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._holder = None
            self._lock.release()


class _Thread:
    def __init__(self, scheduler: Scheduler, *, target: Callable[..., Any], args: tuple[Any, ...] = (), **_: Any) -> None:
        self._scheduler = scheduler
        self._call = lambda: target(*args)
        self._task: Task | None = None

    def start(self) -> None:
        self._task = self._scheduler.spawn(self._call)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.ended

    def join(self, timeout: float | None = None) -> None:
        end = inf if timeout is None else self._scheduler.now + timeout
        while self.is_alive() and self._scheduler.now < end:
            self._scheduler.wait_for(self._task, -1 if timeout is None else end - self._scheduler.now)


class _VirtualClock:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def now(self) -> float:
        return self._scheduler.now

    def park(self, parking: Parking, until: float | None) -> bool:
        return parking.wait(None if until is None else until - self.now())

    def call_at(self, when: float, callback: Callable[[], None]) -> Callable[[], None]:
        parking = Parking()

        def wait_and_call() -> None:
            if not parking.wait(max(when - self.now(), 0.0)):
                callback()

        self._scheduler.spawn(wait_and_call)
        return parking.wake
