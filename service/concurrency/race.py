"""Racing: several attempts at the same thing, of which the first success counts.

Guarantees:

- The first success is returned; the context of all other attempts is cancelled, and they have ended when `race` returns. So an
  attempt must obey its context, and clean up before it ends. Where cleaning up takes its time, `left` lets them end behind the
  race: they count in it until they have.
- Hedged, the next attempt starts only when those under way have neither succeeded nor failed within `hedge_after_s`, or when
  one has failed. (Dean and Barroso, The Tail at Scale, 2013, call this hedged requests.)
- When all have failed, every error is told, in an ExceptionGroup, in the order in which they failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from service.concurrency.channel import Channel
from service.concurrency.context import Context, background, with_cancel
from service.concurrency.group import WaitGroup
from service.concurrency.primitives import Thread

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Outcome(Generic[T]):
    value: T | None
    error: Exception | None


def race(
    ctx: Context, *attempts: Callable[[Context], T], hedge_after_s: float | None = None, left: WaitGroup | None = None
) -> T:
    """The first success among `attempts`, each called with a context of the race; all at once, or hedged.

    Raises ExceptionGroup when all have failed, the error of `ctx` when that ends first, ValueError without attempts.
    """
    if not attempts:
        raise ValueError("a race needs at least one attempt")
    ctx.check()
    with with_cancel(ctx) as racing:
        track = _Track(racing, attempts, left or WaitGroup())
        try:
            return track.run(hedge_after_s)
        finally:
            racing.cancel()
            if left is None:
                track.join()


class _Track(Generic[T]):
    def __init__(self, ctx: Context, attempts: tuple[Callable[[Context], T], ...], running: WaitGroup) -> None:
        self._running = running
        self._ctx = ctx
        self._attempts = attempts
        self._started = 0
        self._outcomes: Channel[_Outcome[T]] = Channel(len(attempts))

    def run(self, hedge_after_s: float | None) -> T:
        """Start one attempt after the other until one succeeds."""
        errors: list[Exception] = []
        self._start(1 if hedge_after_s is not None else len(self._attempts))
        while len(errors) < len(self._attempts):
            more = self._started < len(self._attempts)
            try:
                outcome = self._outcomes.receive(self._ctx, hedge_after_s if more else None)
            except TimeoutError:
                self._start(1)
                continue
            if outcome.error is None:
                return cast(T, outcome.value)
            errors.append(outcome.error)
            self._start(1)
        self._ctx.check()  # then they failed because of it
        raise ExceptionGroup(f"none of {len(errors)} attempts succeeded", errors)

    def join(self) -> None:
        """Wait until every attempt has ended, also where the wait is broken off (KeyboardInterrupt, a kill)."""
        try:
            self._running.wait(background())
        except BaseException:
            self._running.wait(background())
            raise

    def _start(self, number: int) -> None:
        for attempt in self._attempts[self._started : self._started + number]:
            self._started += 1
            self._running.add()
            thread = Thread(target=self._try, args=(attempt,), name=f"race-{self._started}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the system gives no thread
                self._outcomes.send_nowait(_Outcome(None, error))
                self._running.done()

    def _try(self, attempt: Callable[[Context], T]) -> None:
        try:
            outcome = _Outcome(attempt(self._ctx), None)
        except Exception as error:  # noqa: BLE001  # told by run()
            outcome = _Outcome(None, error)
        except BaseException as killed:  # noqa: BLE001  # a greenlet that was killed
            outcome = _Outcome(None, RuntimeError(f"the attempt was killed by {killed!r}"))
        self._outcomes.send_nowait(outcome)
        self._running.done()
