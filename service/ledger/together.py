"""Lookups that are wanted at the same time are made together: one round trip finds for all who wait already.

It is group commit for reads: while one query is at the database, the next questions gather, and a connection serves as many of
them as there are. So a lone question costs one query, and a thousand that miss a cache at once cost hardly more than ten. No
answer is older than its question: a query begins after all that it answers were asked. It is cancelled when nobody waits any
more.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from itertools import count
from typing import Generic, TypeVar

from service.concurrency.channel import Channel, ChannelClosed, WouldBlock
from service.concurrency.context import Context, background, with_timeout
from service.concurrency.promise import Promise
from service.errors import Internal, LedgerdError, Overloaded, Unavailable

log = logging.getLogger(__name__)

MOST_AT_ONCE = 128
LANES = 2  # so that one slow answer does not hold up all who ask

K = TypeVar("K", bound=Hashable)
F = TypeVar("F")


class _Asked(Generic[K, F]):
    """A question, the context of who asks, and the promise of the answer."""

    __slots__ = ("ctx", "key", "promise")

    def __init__(self, ctx: Context, key: K) -> None:
        self.ctx = ctx
        self.key = key
        self.promise: Promise[F | None] = Promise()


class Together(Generic[K, F]):
    """`look_up` finds those of some keys that are there. At most `capacity` may wait; a query may take `longest_s`."""

    def __init__(
        self, look_up: Callable[[Context, Sequence[K]], Mapping[K, F]], *, capacity: int, longest_s: float
    ) -> None:
        self._look_up = look_up
        self._longest_s = longest_s
        self._waiting: Channel[_Asked[K, F]] = Channel(capacity)

    def find(self, ctx: Context, key: K) -> F | None:
        """What is found for `key`. Raises what `look_up` raises, that of `ctx`, Overloaded, or Unavailable after `close`."""
        ctx.check()
        asked: _Asked[K, F] = _Asked(ctx, key)
        try:
            self._waiting.send_nowait(asked)
        except WouldBlock:
            raise Overloaded("Too many lookups are waiting.", retry_after_s=1) from None
        except ChannelClosed:
            raise Unavailable("The service is stopping.", retry_after_s=1) from None
        if not asked.promise.wait(ctx):
            asked.promise.withdraw()
        ctx.check()  # first: a query that all have left fails too, and its error is nobody's
        return asked.promise.result()

    def run_lane(self, ctx: Context) -> None:
        """Answer until `close`, and then what waits still. The body of a background task; it is not `ctx` that ends it."""
        while True:
            try:
                batch = self._waiting.receive_batch(background(), MOST_AT_ONCE)
            except ChannelClosed:
                return
            if wanted := [asked for asked in batch if asked.promise.claim()]:
                self._answer(wanted)

    def close(self) -> None:
        """Take no further questions. A second time does nothing."""
        with contextlib.suppress(ChannelClosed):
            self._waiting.close()

    def _answer(self, wanted: Sequence[_Asked[K, F]]) -> None:
        """Keep every promise, whatever happens."""
        try:
            with with_timeout(background(), self._longest_s) as ctx, _while_wanted(wanted, ctx):
                found = self._look_up(ctx, list({asked.key: None for asked in wanted}))
        except LedgerdError as error:
            self._fail(wanted, error)
        except Exception:
            log.exception("a lookup of %d failed", len(wanted))
            self._fail(wanted, Internal("The lookup failed."))
        else:
            for asked in wanted:
                asked.promise.keep(found.get(asked.key))

    @staticmethod
    def _fail(wanted: Sequence[_Asked[K, F]], error: LedgerdError) -> None:
        for asked in wanted:
            asked.promise.fail(error)


@contextlib.contextmanager
def _while_wanted(wanted: Sequence[_Asked[K, F]], ctx: Context) -> Iterator[None]:
    """Cancel `ctx` when nobody waits for an answer any more: all have left, or their time is up."""
    left = count(1)

    def leave() -> None:
        if next(left) == len(wanted):
            ctx.cancel()

    forget = [asked.ctx.on_done(leave) for asked in wanted]
    try:
        yield
    finally:
        for each in forget:
            each()
