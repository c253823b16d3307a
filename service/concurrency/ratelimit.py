"""A token bucket: `rate_per_s` tokens flow in, at most `burst` are kept, and each call takes some.

Over any time t at most `burst + rate_per_s * t` tokens are given out, first come, first served. It costs neither a thread nor
a queue: the level is computed from the clock when somebody asks. (The leaky bucket as a meter, ITU-T I.371; `allow`, `reserve`
and `wait` as in Go's golang.org/x/time/rate.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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

    def allow(self, tokens: float = 1) -> bool:
        """Take `tokens` if they are there now; tells whether they were. Raises ValueError above the burst."""
        self._check(tokens)
        with self._lock:
            self._refill()
            if self._tokens < tokens:
                return False
            self._tokens -= tokens
            return True

    def reserve(self, tokens: float = 1) -> Reservation:
        """Take `tokens` in advance: whoever comes later waits for what comes after them. Raises ValueError above the burst."""
        self._check(tokens)
        with self._lock:
            self._refill()
            self._tokens -= tokens
            delay_s = max(-self._tokens / self._rate_per_s, 0.0)
        given_back = False

        def cancel() -> None:
            nonlocal given_back
            with self._lock:
                if not given_back:
                    given_back = True
                    self._refill()
                    self._tokens = min(self._tokens + tokens, self._burst)

        return Reservation(delay_s, cancel)

    def wait(self, ctx: Context, tokens: float = 1) -> None:
        """Wait until `tokens` are there, and take them.

        Raises the error of `ctx`, and DeadlineExceeded at once where they would come after its deadline; then none are taken.
        """
        ctx.check()
        reservation = self.reserve(tokens)
        remaining_s = ctx.remaining()
        if remaining_s is not None and reservation.delay_s > remaining_s:
            reservation.cancel()
            raise DeadlineExceeded("The request's time would be up before its turn.")
        if reservation.delay_s > 0:
            try:
                ctx.park(Parking(), reservation.delay_s)
                ctx.check()
            except BaseException:
                reservation.cancel()
                raise

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

    def _check(self, tokens: float) -> None:
        if not 0 < tokens <= self._burst:
            raise ValueError(f"expected more than 0 and at most {self._burst} tokens, the burst, not {tokens}")
