"""The rule of a token bucket, as one number that several processes can share.

Instead of a level and its time there is the time when the bucket is full again: each token that is taken puts it off by the
time that a token takes to flow in, and a request is refused where it would be further away than an empty bucket needs. (The
generic cell rate algorithm, ITU-T I.371, whose "theoretical arrival time" this is.) It decides as
`service.concurrency.ratelimit.TokenBucket` does, which is for one process and for those who would wait; a test holds them
together.
"""

from __future__ import annotations

from math import ceil

SECOND_NS = 1_000_000_000
MOST_RATE_PER_S = 1_000_000
LONGEST_FILL_S = 86_400  # no bucket takes longer to fill: what is further away was not written by us
SHARE = 128
MOST_ALONE = 64


def burst_of(rate_per_s: float) -> int:
    """The burst where a rate is given alone: what flows in within a second, and one request at least."""
    return max(1, ceil(rate_per_s))


class Limit:
    """At most `burst + rate_per_s * t` requests in any time t.

    The burst is cut to what flows in within a day. Raises ValueError unless `rate_per_s` is above 0 and at most
    MOST_RATE_PER_S, and `burst` at least 1.
    """

    __slots__ = ("alone", "burst", "capacity_ns", "half_ns", "interval_ns", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: int) -> None:
        if not 0 < rate_per_s <= MOST_RATE_PER_S or burst < 1:
            expected = f"a rate above 0 and up to {MOST_RATE_PER_S} and a burst of at least 1"
            raise ValueError(f"expected {expected}, not {rate_per_s} and {burst}")
        self.rate_per_s = rate_per_s
        self.interval_ns = ceil(SECOND_NS / rate_per_s)
        self.burst = max(1, min(burst, LONGEST_FILL_S * SECOND_NS // self.interval_ns))
        self.capacity_ns = self.burst * self.interval_ns
        self.half_ns = self.capacity_ns // 2
        self.alone = min(MOST_ALONE, self.burst // SHARE)  # tokens that a process may count by itself; see `table`

    def take(self, full_at_ns: int, now_ns: int) -> tuple[bool, int]:
        """Whether a token is there for a bucket that is full at `full_at_ns`, and when it is full then."""
        full_at_ns = self.believable(full_at_ns, now_ns)
        after = full_at_ns + self.interval_ns
        return (True, after) if after - now_ns <= self.capacity_ns else (False, full_at_ns)

    def give_back(self, full_at_ns: int, now_ns: int) -> int:
        """When the bucket is full if a token of it was not used after all."""
        return self.believable(full_at_ns, now_ns) - self.interval_ns

    def believable(self, full_at_ns: int, now_ns: int) -> int:
        """No full bucket gets fuller, and none is emptier than empty, whatever its limit was before."""
        return min(max(full_at_ns, now_ns), now_ns + self.capacity_ns)

    def left(self, fill_ns: int) -> int:
        """How many tokens are in a bucket that is full in `fill_ns`."""
        return (self.capacity_ns - fill_ns) // self.interval_ns

    def wait_s(self, fill_ns: int) -> int:
        """Whole seconds until there is a token, at least 1."""
        return max(1, -((self.capacity_ns - self.interval_ns - fill_ns) // SECOND_NS))
