"""Contexts: how long a piece of work may take, whether anybody still wants it, and what belongs to it.

A context is the first argument of every call that can wait. It carries a deadline, can be cancelled and holds values; what is
derived from it ends no later than it does. The terms are those of Go's package `context`. Guarantees:

- A context ends once, with one error: `DeadlineExceeded` when its time is up, or what it was cancelled with. `error`, `check`
  and every wait agree about it from then on.
- When it ends, everything derived from it ends first; then each `on_done` function is called, once. An ended context holds no
  reference to either, and its parent holds none to it.
- A deadline costs no thread, and no timer either before somebody asks to be called: who looks or waits notices it by itself.
- Cancelling never recurses, however deep the tree.
- Deriving and cancelling are safe anywhere, in finalisers and signal handlers too. (Waiting and `on_done` are not.)
- Everybody to whom its error is raised gets a copy, whose `origin` it is: no request meets another's traceback.

Derive in a `with` statement, or cancel what you derive: until then its parent keeps it. That is so for values as well: what
`with_value` makes of a context that lives long stays with that until one of the two is cancelled.

Under gevent a context belongs to the hub of one native thread: its deadline is announced, and its waiters are woken, there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import isnan
from types import TracebackType
from typing import Generic, TypeVar

from service.concurrency.clock import SYSTEM_CLOCK, Clock
from service.concurrency.primitives import Parking, RLock
from service.errors import ClientClosedRequest, DeadlineExceeded, LedgerdError

log = logging.getLogger(__name__)

T = TypeVar("T")
_tree = RLock()  # guards what every context refers to; never held while a function of somebody else runs


class Key(Generic[T]):
    """The name of a value in contexts. Two keys are never equal, so nobody can meet another's value by accident."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Key({self.name!r})"


class Context:
    """See the module. Make one with `background`, `with_cancel`, `with_timeout`, `with_deadline` or `with_value`.

    In a `with` statement it is cancelled at the end of the block.
    """

    __slots__ = (
        "__weakref__", "_callbacks", "_children", "_disarm", "_error", "_fate", "_parent", "_values", "clock", "deadline",
    )

    def __init__(self, parent: Context | None, deadline: float | None, clock: Clock) -> None:
        self.clock = clock
        self._error: LedgerdError | None = None
        self._fate: _Fate | None = None
        self._callbacks: dict[object, Callable[[], None]] | None = None
        self._children: dict[Context, None] | None = None
        self._disarm: Callable[[], None] | None = None
        self._parent = parent
        self._values: dict[Key[object], object] | None = None
        self.deadline = deadline
        if deadline is not None and isnan(deadline):  # every comparison with it would be false
            raise ValueError("a deadline or a timeout must be a number of seconds, not NaN")
        if parent is None:
            return
        self._values = parent._values
        if parent.deadline is not None and (deadline is None or parent.deadline < deadline):
            self.deadline = parent.deadline
        parent._adopt(self)

    @property
    def done(self) -> Done:
        """The end of this context, to wait for or to select on."""
        return Done(self)

    def error(self) -> LedgerdError | None:
        """Why the context has ended, or None while it has not. To be looked at, not to be raised: that is `check`."""
        if self._error is None and self.deadline is not None and self.clock.now() >= self.deadline:
            self._end(_Fate(DeadlineExceeded("The request's time is up.")))
        return self._error

    def cause(self) -> BaseException | None:
        """What `cancel` was given, where that says more than `error`; None while the context has not ended."""
        error, fate = self.error(), self._fate
        return error if fate is None or fate.cause is None else fate.cause

    def check(self) -> None:
        """Raise the error of a context that has ended."""
        if (error := self.error()) is not None:
            raise error.again()

    def remaining(self) -> float | None:
        """Seconds until the deadline, never negative; None without one."""
        return None if self.deadline is None else max(self.deadline - self.clock.now(), 0.0)

    def value(self, key: Key[T]) -> T | None:
        """What this context, or the nearest one that it is derived from, has for `key`; None if there is nothing."""
        return None if self._values is None else self._values.get(key)  # type: ignore[return-value, arg-type]  # with_value

    def cancel(self, cause: BaseException | None = None) -> None:
        """End the context and all that is derived from it; a second time does nothing.

        A cause of the taxonomy becomes the context's error; any other becomes the cause of a ClientClosedRequest.
        """
        if isinstance(cause, LedgerdError):
            self._end(_Fate(cause.origin, cause))
        else:
            error = ClientClosedRequest("The work was cancelled.")
            error.__cause__ = cause
            self._end(_Fate(error, cause))

    def on_done(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` once when the context ends (at once if it has), also by its deadline, in whatever thread ends it.

        Returns a function that unregisters it. The callback must not wait; what it raises is logged.
        """
        token = self._register(callback)
        if token is None:
            _call_all([callback])
            return _nothing
        if self.deadline is not None and self._disarm is None:
            try:
                self._arm(self.deadline)
            except BaseException:
                self._unregister(token)
                raise
        return lambda: self._unregister(token)

    def park(self, parking: Parking, timeout_s: float | None = None) -> bool:
        """Sleep until `parking` is woken, the context ends or `timeout_s` has passed. False: for the time it was.

        Every wait of the core is this one.
        """
        until = self.deadline
        if timeout_s is not None:
            end = self.clock.now() + timeout_s
            until = end if until is None or end < until else until
        token = self._register(parking.wake)
        if token is None:
            return True
        try:
            return self.clock.park(parking, until)
        finally:
            self._unregister(token)

    def _register(self, callback: Callable[[], None]) -> object | None:
        """Have `callback` called when the context is cancelled; its deadline is the caller's business. None: it has ended."""
        token = object()
        alone = {token: callback}  # made before the lock is held: nobody comes in between looking and setting
        with _tree:
            if self._error is not None:
                return None
            if self._callbacks is None:
                self._callbacks = alone
            else:
                self._callbacks[token] = callback
        return token

    def _unregister(self, token: object) -> None:
        disarm = gone = None  # what the callback refers to is let go after the lock
        with _tree:
            if self._callbacks is not None:
                gone = self._callbacks.pop(token, None)
                if not self._callbacks:
                    disarm, self._disarm = self._disarm, None
        del gone
        if disarm is not None:
            disarm()

    def _arm(self, deadline: float) -> None:
        disarm: Callable[[], None] | None = self.clock.call_at(deadline, lambda: (self.error(), None)[1])
        with _tree:
            if self._callbacks and self._disarm is None:
                self._disarm, disarm = disarm, None
        if disarm is not None:
            disarm()

    def _adopt(self, child: Context) -> None:
        alone: dict[Context, None] = {child: None}  # made before the lock is held, as in `_register`
        with _tree:
            if (fate := self._fate) is None:
                if self._children is None:
                    self._children = alone
                else:
                    self._children[child] = None
                return
        child._end(fate)

    def _end(self, fate: _Fate) -> None:
        callbacks: list[Callable[[], None]] = []
        with _tree:
            if self._error is not None:
                return
            if (parent := self._parent) is not None and (siblings := parent._children) is not None:
                siblings.pop(self, None)
            tree = [self]
            for ctx in tree:  # grows while it is gone through; the furthest descendants are told first
                ctx._fate = ctx._fate or fate  # from now on it takes no children: a finaliser may derive some just here
                if ctx._children:
                    tree.extend(list(ctx._children))
            for ctx in reversed(tree):
                if ctx._error is None:
                    ctx._error = ctx._fate.error  # type: ignore[union-attr]  # set above
                    if ctx._callbacks:
                        callbacks.extend(ctx._callbacks.values())
                    if ctx._disarm is not None:
                        callbacks.append(ctx._disarm)
                ctx._callbacks = ctx._children = ctx._disarm = ctx._parent = None
        _call_all(callbacks)

    def __enter__(self) -> Context:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.cancel()


class _Fate:
    """How a context ends: with what error, and what `cancel` was given. It is certain a moment before the error is set."""

    __slots__ = ("cause", "error")

    def __init__(self, error: LedgerdError, cause: BaseException | None = None) -> None:
        self.error = error
        self.cause = cause


class Done:
    """The end of a context: `wait` for it, or give it to `select` as a case."""

    __slots__ = ("ctx",)

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx

    def wait(self, timeout_s: float | None = None) -> bool:
        """Sleep until the context has ended or `timeout_s` has passed; tells whether it has ended."""
        self.ctx.park(Parking(), timeout_s)
        return self.ctx.error() is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Done) and other.ctx is self.ctx

    def __hash__(self) -> int:
        return hash(self.ctx)


class _Background(Context):
    """A root: never ends, so nothing needs to register with it."""

    __slots__ = ()

    def error(self) -> None:
        return None

    def check(self) -> None:
        return None

    def cancel(self, cause: BaseException | None = None) -> None:
        raise RuntimeError("the background context cannot be cancelled: derive one with with_cancel()")

    def _adopt(self, child: Context) -> None:
        return None

    def _register(self, callback: Callable[[], None]) -> object | None:
        return callback

    def _unregister(self, token: object) -> None:
        return None


_BACKGROUND = _Background(None, None, SYSTEM_CLOCK)


def origin(error: BaseException) -> BaseException:
    """What `error` is a copy of, or itself: that of a context's error, however often it is raised, is the same."""
    return error.origin if isinstance(error, LedgerdError) else error


def _nothing() -> None:
    return None


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    """Each, whatever the others raise. An error is logged; what is none (KeyboardInterrupt, a kill) is raised at the end."""
    broken_off = None
    for callback in callbacks:
        try:
            callback()
        except Exception:
            log.exception("a function that waited for the end of a context failed")
        except BaseException as error:  # noqa: BLE001  # raised below
            broken_off = broken_off or error
    if broken_off is not None:
        raise broken_off


def background(clock: Clock | None = None) -> Context:
    """The context that never ends: for start-up, tests and the root of everything else.

    What is derived from it takes the time from `clock`; unless one is given, that is the system's.
    """
    return _BACKGROUND if clock is None else _Background(None, None, clock)


def with_cancel(parent: Context) -> Context:
    """A context that ends when it is cancelled or when `parent` ends."""
    return Context(parent, None, parent.clock)


def with_timeout(parent: Context, timeout_s: float) -> Context:
    """A context that ends after `timeout_s` seconds (at once if that is not above 0), or with `parent`. ValueError for NaN."""
    clock = parent.clock
    return Context(parent, clock.now() + timeout_s, clock)


def with_deadline(parent: Context, deadline: float) -> Context:
    """A context that ends when the clock of `parent` shows `deadline`, or with `parent`. Raises ValueError for NaN."""
    return Context(parent, deadline, parent.clock)


def with_value(parent: Context, key: Key[T], value: T) -> Context:
    """A context that has `value` for `key`, and everything else from `parent`."""
    ctx = Context(parent, None, parent.clock)
    ctx._values = {**(parent._values or {}), key: value}  # type: ignore[dict-item]  # a Key[T] is a Key of objects here
    return ctx
