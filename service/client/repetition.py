"""Sending a request again, and when not to.

Some errors say that nothing was done: then any request may be sent again. After others nobody knows what was done: the
connection broke, no answer came in time, or `outcome_unknown`. Then only one may be sent again that does no more the second
time (`Request.repeatable`). What the server has refused is an answer, and is not asked for again.

Between two attempts is a pause of a random length, up to a bound that doubles (full jitter: Brooker, Exponential Backoff And
Jitter, AWS Architecture Blog, 2015), and `Retry-After` at least. There is none where a server failed and another was not tried
yet. A pause that the deadline does not allow is not begun.

Once it is not known whether the request has taken effect, a later attempt that did nothing proves nothing either: in the end
that is OutcomeUnknown, whatever the last error was.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from service.client.exchange import Broken
from service.client.instances import Instance, Instances
from service.client.request import Reply, Request, error_of
from service.concurrency.backoff import backoff_s
from service.concurrency.breaker import BreakerOpen
from service.concurrency.context import Context, with_timeout
from service.concurrency.primitives import Parking
from service.errors import (
    DeadlineExceeded,
    Forbidden,
    Internal,
    LedgerdError,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
    Unauthenticated,
    Unavailable,
)

FIRST_BOUND_S, LONGEST_BOUND_S = 0.1, 5.0  # of a pause
MARGIN, MOST_MARGIN_S = 0.1, 0.25  # of an attempt's time, which the server is not told of: its answer has a way to go
NOTHING_DONE = (RateLimited, Overloaded, Unavailable, DeadlineExceeded)
NO_PROOF = (*NOTHING_DONE, OutcomeUnknown, Internal, Unauthenticated, Forbidden)  # that an earlier attempt did nothing


class Repetition:
    """See the module. `attempts` in all, each that may be repeated for `attempt_timeout_s` at most."""

    def __init__(
        self, instances: Instances, *, attempts: int, attempt_timeout_s: float,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if attempts < 1 or attempt_timeout_s <= 0:
            raise ValueError(f"expected at least one attempt and a time above 0, not {attempts} and {attempt_timeout_s}")
        self._instances = instances
        self._attempts = attempts
        self._attempt_timeout_s = attempt_timeout_s
        self._uniform = uniform

    def send(self, ctx: Context, request: Request) -> Reply:
        """The answer, if it is a success. Errors as `Client.call`; `ctx` has a deadline."""
        tried: list[Instance] = []
        in_doubt = False
        for number in range(1, self._attempts + 1):
            try:
                return self._attempt(ctx, request, tried)
            except LedgerdError as error:
                if in_doubt and request.method == "DELETE" and isinstance(error, NotFound):
                    return Reply(204, {}, b"")  # by the attempt whose answer was lost
                last = error
            unknown = isinstance(last, OutcomeUnknown) or (isinstance(last, Internal) and request.key is not None)
            in_doubt = in_doubt or (unknown and not request.is_safe)
            may_repeat = request.repeatable if unknown else isinstance(last, NOTHING_DONE)
            if not may_repeat or number == self._attempts or not self._pause(ctx, number, last, tried):
                break
        raise _conclusion(ctx, request, last, in_doubt=in_doubt)

    def _attempt(self, ctx: Context, request: Request, tried: list[Instance]) -> Reply:
        ctx.check()
        instance = self._instances.choose(ctx, tried, may_probe=request.repeatable)
        tried.append(instance)
        remaining_s = ctx.remaining()
        assert remaining_s is not None, "the client gives every call a deadline"
        timeout_s = min(remaining_s, self._attempt_timeout_s) if request.repeatable else remaining_s
        told_s = max(timeout_s - min(timeout_s * MARGIN, MOST_MARGIN_S), 0.001)
        try:
            with with_timeout(ctx, timeout_s) as bounded:
                reply = instance.exchange(bounded, request, f"{told_s:.3f}")
        except BreakerOpen as error:
            raise Unavailable(f"{instance.connections.base} is left alone for a while: {instance.last_fault}.") from error
        except Broken as error:
            if error.sent and not request.is_safe:
                raise OutcomeUnknown(f"{error}: the request may have taken effect, or not.") from error
            raise Unavailable(f"{error}.") from error
        if (refusal := error_of(reply)) is not None:
            refusal.add_note(f"{request.method} {request.path} at {instance.connections.base}, {_id(reply, request)}")
            raise refusal
        return reply

    def _pause(self, ctx: Context, number: int, error: LedgerdError, tried: list[Instance]) -> bool:
        """Wait before the next attempt; whether there may be one."""
        if isinstance(error.__cause__, Broken | BreakerOpen) and self._instances.has_other(tried):
            return True
        bound_s = backoff_s(number, first_s=FIRST_BOUND_S, longest_s=LONGEST_BOUND_S)
        pause_s = self._uniform(0.0, bound_s) + (error.retry_after_s or 0)
        if isinstance(error.__cause__, BreakerOpen):
            pause_s += error.__cause__.retry_after_s
        remaining_s = ctx.remaining()
        if remaining_s is not None and pause_s >= remaining_s:
            return False
        ctx.park(Parking(), pause_s)
        return ctx.error() is None


def _conclusion(ctx: Context, request: Request, last: LedgerdError, *, in_doubt: bool) -> LedgerdError:
    """What the caller is told in the end."""
    if in_doubt and isinstance(last, NO_PROOF):
        advice = f"send it again with the idempotency key {request.key!r}" if request.key else "read it back"
        unknown = OutcomeUnknown(f"The request may have taken effect, or not: {advice}. {last.message}")
        unknown.__cause__ = last
        return unknown
    end = ctx.error()
    if end is not None and isinstance(last, NOTHING_DONE):
        over = end.again()
        over.__cause__ = last
        return over
    return last


def _id(reply: Reply, request: Request) -> str:
    return f"request {reply.headers.get('x-request-id', request.headers['x-request-id'])}"
