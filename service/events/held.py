"""A webhook that a dispatcher has, how it goes about its attempts, and what it tells of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import random

from service.concurrency.backoff import backoff_s
from service.events.attempt import Receiver
from service.events.dispatching import Claimed, Lease
from service.events.event import Event
from service.events.gates import Gate
from service.events.outbox import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How attempts are made. Times in seconds; `base_s` and `cap_s` are those of the backoff."""

    timeout_s: float = 10.0
    base_s: float = 5.0
    cap_s: float = 21_600.0
    attempts: int = 25
    lease_s: float = 15.0
    workers: int = 32
    each_target: int = 8
    open_s: float = 30.0

    def wait_s(self, attempts: int, at_least_s: float = 0.0) -> float | None:
        """How long to wait after so many failures: anything up to a ceiling that doubles (full jitter); None: give up.

        At least what the receiver has asked for, up to the cap.
        """
        if attempts >= self.attempts:
            return None
        ceiling = backoff_s(attempts, first_s=self.base_s, longest_s=self.cap_s)
        return max(ceiling * random(), min(at_least_s, self.cap_s))  # noqa: S311  # nosec B311  # spread, not secrecy


@dataclass(slots=True)
class Held:
    """A webhook that this dispatcher has. `until`: its lease, on the clock here. `leaving`: no attempt begins any more."""

    lease: Lease
    claimed: Claimed
    receiver: Receiver
    outbox: Outbox
    gate: Gate
    until: float
    leaving: bool = False
    gone: bool = False


@dataclass(slots=True)
class Told:
    """For whoever counts: what has happened, since the beginning and now."""

    delivered: int = 0
    failed: int = 0
    dead: int = 0
    webhooks: int = 0
    outstanding: int = 0
    in_flight: int = 0
    breakers: dict[str, int] = field(default_factory=dict)
    oldest_s: float = 0.0  # for how long the event that has waited longest has been here


def fill(held: Held, page: Sequence[Event], room: int, now: float) -> int:
    """Add what is wanted of a page while there is room; how many were."""
    taken = 0
    for event in page:
        if not held.claimed.filter.wants(event):
            held.outbox.read_past(event.id)
        elif taken < room:
            held.outbox.add(event, now)
            taken += 1
        else:
            break
    return taken
