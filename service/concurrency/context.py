"""Contexts: how long a piece of work may take, and whether anybody still wants it.

A context is the first argument of every call that can wait. It carries a deadline and can be cancelled; what is derived from
it ends no later than it does. Guarantees:

- A context ends once, with one error: `DeadlineExceeded` when its time is up, or the cause it was cancelled with.
- Cancelling runs each `on_done` callback once and cancels every derived context; an ended context holds no reference to them.
- A deadline costs no timer: it is noticed by whoever waits (`remaining()`) or looks (`check()`), not announced.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from service.concurrency.primitives import Lock, monotonic
from service.errors import ClientClosedRequest, DeadlineExceeded, LedgerdError

_tree = Lock()  # guards every context's callbacks; held for a few instructions, never while one runs


class Context:
    """See the module. Make one with `background`, `with_cancel`, `with_timeout` or `with_deadline`.

    In a `with` statement it is cancelled at the end of the block.
    """

    __slots__ = ("_callbacks", "_clock", "_error", "_leave_parent", "deadline")

    def __init__(self, parent: Context | None, deadline: float | None, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._error: LedgerdError | None = None
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._leave_parent: Callable[[], None] | None = None
        self.deadline = deadline
        if parent is None:
            return
        if parent.deadline is not None and (deadline is None or parent.deadline < deadline):
            self.deadline = parent.deadline
        if not isinstance(parent, _Background):
            self._leave_parent = parent.on_done(lambda: self.cancel(parent.error()))

    def error(self) -> LedgerdError | None:
        """Why the context has ended, or None while it has not."""
        if self._error is None and self.deadline is not None and self._clock() >= self.deadline:
            self._end(DeadlineExceeded("The request's time is up."))
        return self._error

    def check(self) -> None:
        """Raise the error of a context that has ended."""
        if (error := self.error()) is not None:
            raise error.with_traceback(None)

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None without one."""
        return None if self.deadline is None else max(self.deadline - self._clock(), 0.0)

    def cancel(self, cause: LedgerdError | None = None) -> None:
        """End the context and all that is derived from it; a second time does nothing."""
        self._end(cause or ClientClosedRequest("The work was cancelled."))

    def on_done(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once when the context is cancelled (at once if it has ended already).

        Returns a function that unregisters it. The callback must not wait.
        """
        token = object()
        with _tree:
            ended = self._error is not None
            if not ended:
                self._callbacks[token] = callback
        if ended:
            callback()
            return lambda: None

        def unregister() -> None:
            with _tree:
                self._callbacks.pop(token, None)

        return unregister

    def _end(self, error: LedgerdError) -> None:
        with _tree:
            if self._error is not None:
                return
            self._error = error
            callbacks, self._callbacks = list(self._callbacks.values()), {}
        if self._leave_parent is not None:
            self._leave_parent()
        for callback in callbacks:
            callback()

    def __enter__(self) -> Context:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.cancel()


class _Background(Context):
    """The root: never ends, so nothing needs to register with it."""

    __slots__ = ()

    def cancel(self, cause: LedgerdError | None = None) -> None:
        raise RuntimeError("the background context cannot be cancelled: derive one with with_cancel()")


_BACKGROUND = _Background(None, None, monotonic)


def background() -> Context:
    """The context that never ends: for start-up, tests and the root of everything else."""
    return _BACKGROUND


def with_cancel(parent: Context) -> Context:
    """A context that ends when it is cancelled or when `parent` ends."""
    return Context(parent, None, monotonic)


def with_timeout(parent: Context, timeout_s: float, clock: Callable[[], float] = monotonic) -> Context:
    """A context that ends after `timeout_s` seconds of `clock`, or with `parent`."""
    return Context(parent, clock() + timeout_s, clock)


def with_deadline(parent: Context, deadline: float, clock: Callable[[], float] = monotonic) -> Context:
    """A context that ends when `clock` shows `deadline`, or with `parent`."""
    return Context(parent, deadline, clock)
