"""A token bucket: `rate_per_s` tokens flow in, at most `burst` are kept, and each call takes some.

Over any time t at most `burst + rate_per_s * t` tokens are given out, first come, first served. What is cancelled is given
back but for what has been reserved after it: those who came later keep their times. It costs neither a thread nor a queue: the
level is computed from the clock when somebody asks. (The leaky bucket as a meter, ITU-T I.371; `allow`, `reserve`
and `wait` as in Go's golang.org/x/time/rate.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from service.concurrency.clock import SYSTEM_CLOCK, Clock
from service.concurrency.context import Context
from service.concurrency.primitives import Lock, Parking
from service.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens that are the caller's from `delay_s` seconds on. `cancel` gives them back, once, if they are not used."""

    delay_s: float
    cancel: Callable[[], None]


class TokenBucket:
    """See the module; it begins full. Raises ValueError unless `rate_per_s` is above 0 and `burst` at least 1."""

    def __init__(self, *, rate_per_s: float, burst: float, clock: Clock = SYSTEM_CLOCK) -> None:
        if rate_per_s <= 0 or burst < 1:
            raise ValueError(f"expected a rate above 0 and a burst of at least 1, not {rate_per_s} and {burst}")
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._clock = clock
        self._lock = Lock()
        self._tokens = float(burst)
        self._at = clock.now()
        self._latest_due = self._at  # when what was given out last can be used

    def allow(self, tokens: float = 1) -> bool:
        """Take `tokens` if they are there now; tells whether they were. Raises ValueError above the burst."""
        return self._take(tokens, 0.0) is not None

    def reserve(self, tokens: float = 1) -> Reservation:
        """Take `tokens` in advance: whoever comes later waits for what comes after them. Raises ValueError above the burst."""
        reservation = self._take(tokens, inf)
        assert reservation is not None, "there is always a time that is late enough"
        return reservation

    def wait(self, ctx: Context, tokens: float = 1) -> None:
        """Wait until `tokens` are there, and take them.

        Raises the error of `ctx`, and DeadlineExceeded at once where they would come after its deadline; then none are taken.
        """
        ctx.check()
        remaining_s = ctx.remaining()
        reservation = self._take(tokens, inf if remaining_s is None else remaining_s)
        if reservation is None:
            raise DeadlineExceeded("The request's time would be up before its turn.")
        if reservation.delay_s > 0:
            try:
                ctx.park(Parking(), reservation.delay_s)
                ctx.check()
            except BaseException:
                reservation.cancel()
                raise

    def _take(self, tokens: float, within_s: float) -> Reservation | None:
        """Take `tokens`, to be used when they are there; None, and nothing is taken, if that is not `within_s` seconds."""
        if not 0 < tokens <= self._burst:
            raise ValueError(f"expected more than 0 and at most {self._burst} tokens, the burst, not {tokens}")
        with self._lock:
            self._refill()
            delay_s = max((tokens - self._tokens) / self._rate_per_s, 0.0)
            if delay_s > within_s:
                return None
            self._tokens -= tokens
            due = self._at + delay_s
            self._latest_due = max(self._latest_due, due)
        cancelled = False

        def cancel() -> None:
            nonlocal cancelled
            with self._lock:
                if not cancelled:
                    cancelled = True
                    self._give_back(tokens, due)

        return Reservation(delay_s, cancel)

    def _give_back(self, tokens: float, due: float) -> None:
        """Under the lock: what has been reserved since then stays reserved, and is not given out a second time."""
        self._refill()
        self._tokens += max(tokens - (self._latest_due - due) * self._rate_per_s, 0.0)
        self._tokens = min(self._tokens, self._burst)
        if due == self._latest_due:
            self._latest_due = max(due - tokens / self._rate_per_s, self._at)

    @property
    def tokens(self) -> float:
        """The level now; below 0 where tokens are reserved in advance."""
        with self._lock:
            self._refill()
            return self._tokens

    def _refill(self) -> None:
        now = self._clock.now()
        self._tokens = min(self._tokens + (now - self._at) * self._rate_per_s, self._burst)
        self._at = now
