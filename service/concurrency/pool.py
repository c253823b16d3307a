"""A pool of workers: a fixed number of threads that take jobs from one bounded channel.

Guarantees:

- At most `workers` jobs run and `capacity` wait; `submit` waits for room, `submit_nowait` does not.
- Every job that was taken in ends: with its value, its error, or, when the pool is cancelled before its turn, that error. None
  begins after the pool has been cancelled.
  An error of a job is its own and ends no worker. (A worker whose greenlet is killed while it has no job is not replaced.)
- `close` lets every job end and joins the workers; so does the end of a `with` block. An error in the block cancels first.

A job that waits for another of its own pool may wait for its own worker, as in Go: until one of the contexts ends.

For spawning without fixed workers, but a bounded number at once, see `Group(limit=…)`; for CPU work, see `processes`.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Concatenate, Generic, ParamSpec, TypeVar

from service.concurrency.channel import Channel, ChannelClosed, WouldBlock
from service.concurrency.context import Context, with_cancel
from service.concurrency.primitives import Thread
from service.concurrency.promise import Promise
from service.errors import ClientClosedRequest

P = ParamSpec("P")
T = TypeVar("T")


class _Job(Generic[T]):
    __slots__ = ("promise", "run")

    def __init__(self, run: Callable[[Context], T]) -> None:
        self.run = run
        self.promise: Promise[T] = Promise()

    def settle(self, ctx: Context) -> None:
        """Run it, unless it was withdrawn."""
        if not self.promise.claim():
            return
        if ctx.error() is not None:
            self.abandon()
            return
        try:
            value = self.run(ctx)
        except Exception as error:  # noqa: BLE001  # it is the submitter's
            self.promise.fail(error)
        except BaseException as ended:  # noqa: BLE001  # a job that calls exit(), or a greenlet that was killed
            self.promise.fail(RuntimeError(f"the job was ended by {ended!r}"))
        else:
            self.promise.keep(value)

    def abandon(self) -> None:
        """Tell that it will not run."""
        self.promise.fail(ClientClosedRequest("The pool was cancelled before the job had its turn."))


class WorkerPool:
    """See the module."""

    def __init__(self, ctx: Context, *, workers: int, capacity: int, name: str = "worker") -> None:
        if workers < 1 or capacity < 1:
            raise ValueError(f"a pool needs at least one worker and room for one job, not {workers} and {capacity}")
        self._ctx = with_cancel(ctx)
        self._jobs: Channel[_Job[object]] = Channel(capacity)
        self._threads = [Thread(target=self._work, name=f"{name}-{n + 1}", daemon=True) for n in range(workers)]
        self._ctx.on_done(self._abandon)
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError:  # the system gives no more threads
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self.cancel()
            raise

    def submit(
        self, ctx: Context, task: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Promise[T]:
        """Have `task(pool's context, *args)` run; its promise. Raises the error of `ctx`, RuntimeError on a closed pool."""
        job = _Job(lambda ctx: task(ctx, *args, **kwargs))
        try:
            self._jobs.send(ctx, job)  # type: ignore[arg-type]  # the workers do not care what it returns
        except ChannelClosed:
            raise _closed() from None
        return job.promise

    def submit_nowait(self, task: Callable[Concatenate[Context, P], T], *args: P.args, **kwargs: P.kwargs) -> Promise[T]:
        """As `submit`, but raises WouldBlock where it would have to wait for room."""
        job = _Job(lambda ctx: task(ctx, *args, **kwargs))
        try:
            self._jobs.send_nowait(job)  # type: ignore[arg-type]  # as above
        except ChannelClosed:
            raise _closed() from None
        return job.promise

    def cancel(self) -> None:
        """Cancel the jobs that run and drop those that wait; `close` is still to be called."""
        self._ctx.cancel()

    def close(self) -> None:
        """Take no more jobs, wait for those that were taken in, and join the workers. A second time does nothing.

        Where that is broken off (KeyboardInterrupt, a killed greenlet), the jobs are cancelled and the workers joined first.
        """
        self._shut()
        try:
            self._join()
        except BaseException:
            self.cancel()
            self._join()
            raise
        self._ctx.cancel()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        for job in self._jobs:
            job.settle(self._ctx)

    def _shut(self) -> None:
        if not self._jobs.closed:
            try:
                self._jobs.close()
            except ChannelClosed:  # another thread was faster
                return

    def _abandon(self) -> None:
        self._shut()
        while True:
            try:
                job = self._jobs.receive_nowait()
            except (ChannelClosed, WouldBlock):
                return
            job.abandon()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if exc is not None:
            self.cancel()
        self.close()


def _closed() -> RuntimeError:
    return RuntimeError("the pool is closed and takes no more jobs")
