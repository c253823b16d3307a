"""Groups of tasks that are waited for together.

`WaitGroup` counts; `Group` runs functions at the same time and tells their errors. Guarantees of a `Group`:

- When its `with` block is left, everything that it spawned has ended.
- The first error cancels the context of the rest and is what `wait` raises; what else went wrong is attached to it as notes,
  and all of it is in `errors`. A task that only reports that its context was cancelled, or that its time was up as the
  group's was, adds nothing.
- Where the wait is broken off (KeyboardInterrupt, a killed greenlet), what runs is cancelled and waited for first.
- With a `limit`, at most so many run at once; `spawn` waits for its turn. A task that spawns in its own full group may so wait
  for itself, as in Go: until the group's context ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from types import TracebackType
from typing import Concatenate, ParamSpec

from service.concurrency.context import Context, background, origin, with_cancel
from service.concurrency.primitives import Lock, Parking, Thread
from service.concurrency.semaphore import Semaphore
from service.errors import DeadlineExceeded

P = ParamSpec("P")


class WaitGroup:
    """A counter that can be waited for until it is zero."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = 0
        self._waiting: dict[Parking, None] = {}

    @property
    def count(self) -> int:
        """How many are to be done."""
        return self._count

    def add(self, number: int = 1) -> None:
        """Count `number` more, or less if it is negative. Raises ValueError, and changes nothing, below zero."""
        with self._lock:
            if self._count + number < 0:
                raise ValueError(f"the count of a WaitGroup cannot go below zero: {self._count} and {number}")
            self._count += number
            woken = [] if self._count else list(self._waiting)
        for parking in woken:
            parking.wake()

    def done(self) -> None:
        """Count one less. Raises ValueError where nothing is left to be done."""
        self.add(-1)

    def wait(self, ctx: Context, timeout_s: float | None = None) -> None:
        """Wait until the count is zero. Raises the error of `ctx`, or TimeoutError when `timeout_s` has passed."""
        ctx.check()
        parking = Parking()
        with self._lock:
            if self._count == 0:
                return
            self._waiting[parking] = None
        try:
            woken = ctx.park(parking, timeout_s)
        finally:
            with self._lock:
                del self._waiting[parking]
        if self._count == 0 or (woken and ctx.error() is None):
            return
        ctx.check()
        raise TimeoutError(f"{self._count} were not done within {timeout_s} s")


class Group:
    """See the module. Use it in a `with` statement: an error in the block cancels the tasks, and the end waits for them."""

    def __init__(self, ctx: Context, *, name: str = "group", limit: int | None = None) -> None:
        self.ctx = with_cancel(ctx)
        self.errors: list[BaseException] = []
        self._cut_short = False
        self._ended = False
        self._name = name
        self._numbers = count(1)
        self._running = WaitGroup()
        self._room = None if limit is None else Semaphore(limit)
        self._lock = Lock()

    def spawn(self, task: Callable[Concatenate[Context, P], object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run `task(ctx, *args)` in a thread of its own, with the group's context. Raises that one's error if it has ended."""
        if self._room is None:
            self.ctx.check()
        else:
            self._room.acquire(self.ctx)
        with self._lock:
            if not self._ended:
                self._running.add()
        if self._ended:
            self.ctx.cancel()  # as `wait` is just about to do
            self.ctx.check()
        run = partial(self._run, lambda: task(self.ctx, *args, **kwargs))
        thread = Thread(target=run, name=f"{self._name}-{next(self._numbers)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no thread
            self._end_one()
            raise

    def wait(self) -> None:
        """Wait for all; raise the first error, or the context's if that cut one short. Nothing can be spawned afterwards."""
        try:
            self._join()
        except BaseException as broken_off:  # KeyboardInterrupt, or a greenlet that is killed
            self.ctx.cancel(broken_off)
            self._join()
            raise
        self.ctx.cancel()
        if self.errors:
            raise self.errors[0]
        if self._cut_short:
            self.ctx.check()

    def _join(self) -> None:
        """Wait until nothing runs, and take nothing from then on."""
        while not self._ended:
            self._running.wait(background())
            with self._lock:
                self._ended = self._running.count == 0

    def cancel(self, cause: BaseException | None = None) -> None:
        """Cancel what runs."""
        self.ctx.cancel(cause)

    def _run(self, task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001  # raised by wait()
            self.fail(error)
        finally:
            self._end_one()

    def fail(self, error: BaseException) -> None:
        """Count `error` among the group's, as if a task had raised it."""
        end = self.ctx.error()
        if origin(error) is end or (isinstance(error, DeadlineExceeded) and isinstance(end, DeadlineExceeded)):
            self._cut_short = True  # it says only that the group was cancelled, or that its time was up
            return
        with self._lock:
            if any(error is known for known in self.errors):  # what wait() raised in the block
                return
            if self.errors:
                self.errors[0].add_note(f"and then, in the same group: {type(error).__name__}: {error}")
            self.errors.append(error)
        self.ctx.cancel(error)

    def _end_one(self) -> None:
        if self._room is not None:
            self._room.release()
        self._running.done()

    def __enter__(self) -> Group:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if exc is not None:
            self.fail(exc)
        try:
            self.wait()
        except BaseException as error:
            if exc is None or origin(error) is not origin(exc):
                raise
