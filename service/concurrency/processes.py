"""CPU work in processes of its own.

Guarantees:

- At most `processes` jobs run, and as many again are under way to them; results come in the order of the items.
- No orphan: a worker process ends when its parent does, even one that is killed with -9 while a job runs.
- Ctrl-C, which a terminal sends to every process of the command, is for the parent alone to act on.
- A worker process that dies is an error (BrokenProcessPool), not a wait.
- Leaving the block early drops what is not yet on its way to a process, and waits for the rest: the jobs that run, which are
  not interrupted, and those that are queued for the processes, at most one more than there are processes.

It is for processes that gevent has not patched (commands, worker units): in a patched one the pool's pipes would block the
hub, so it refuses to start there.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context, parent_process, resource_tracker
from types import TracebackType
from typing import TypeVar, cast

from service.concurrency.context import Context
from service.concurrency.primitives import Parking, Thread

T = TypeVar("T")
U = TypeVar("U")


class ProcessPool:
    """See the module. Use it in a `with` statement. Raises RuntimeError in a process that gevent has patched."""

    def __init__(self, processes: int | None = None) -> None:
        """`processes` is the number of cores unless it is given; ValueError below 1."""
        if processes is not None and processes < 1:
            raise ValueError(f"a process pool needs at least one process, not {processes}")
        if _is_patched():
            raise RuntimeError("no process pool in a process that gevent has patched: use a command or a worker unit")
        self._processes = processes or os.cpu_count() or 1
        # spawned, not forked: a fork would copy locks that other threads hold
        self._executor = ProcessPoolExecutor(self._processes, mp_context=get_context("spawn"), initializer=_end_with_parent)
        resource_tracker.ensure_running()  # it would let signals in again when `_submit` has to start it

    def map(self, ctx: Context, work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """`work` of each item, in their order. Raises what it raises, and the error of `ctx` when that ends first.

        `work`, the items and the results must be such as `pickle` takes.
        """
        under_way: deque[Future[U]] = deque()
        try:
            for item in items:
                ctx.check()
                under_way.append(self._submit(work, item))
                if len(under_way) >= 2 * self._processes:
                    yield _result(ctx, under_way.popleft())
            while under_way:
                yield _result(ctx, under_way.popleft())
        finally:
            for future in under_way:
                future.cancel()

    def _submit(self, work: Callable[[T], U], item: T) -> Future[U]:
        """Hand a job over. A process that is started for it inherits from its first instruction on that SIGINT is blocked."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._executor.submit(work, item)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """Wait for the jobs that run, and for the processes. A second time does nothing."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def kill(self) -> None:
        """End the processes at once, with the jobs that they are at; the pool is of no use then, but to be closed."""
        processes = list(self._executor._processes.values())
        manager = cast("Thread | None", self._executor._executor_manager_thread)
        # first it drops what is cancelled: in Python 3.11 its thread fails on that when a process ends (cpython gh-107219)
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        if manager is not None:
            manager.join()

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _result(ctx: Context, future: Future[U]) -> U:
    parking = Parking()
    future.add_done_callback(lambda _: parking.wake())
    while not future.done():
        ctx.check()
        ctx.park(parking)
    return future.result()


def _end_with_parent() -> None:
    """In a worker: a thread that waits for the parent's end, and then ends this process at once."""
    Thread(target=_watch_parent, name="watch-parent", daemon=True).start()


def _watch_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _is_patched() -> bool:
    """Whether gevent has patched threads. It is only looked at where it has been imported: the core does not need it."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))
