"""How many attempts at once a target may get: so many while it works, one while it does not, none while its breaker is open.

A target is a host and port, as one ledger's webhooks know it: what one ledger does to a host is not felt by another. One
that has not answered well yet, or has failed SUSPECT times in a row, is a suspect: it gets one attempt at a time. Those that
have failed get at most half of the workers together, and with those of which nothing is known three quarters. So however many
targets hang, those that work have the rest. After FAILURES in
a row its breaker opens; then it is probed, one attempt at a time, until one succeeds.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from service.concurrency.breaker import Breaker, State
from service.concurrency.clock import SYSTEM_CLOCK, Clock
from service.concurrency.primitives import Lock
from service.events.delivery import DeliveryFailed

log = logging.getLogger(__name__)
T = TypeVar("T")

SUSPECT = 3
FAILURES = 8
WINDOW_S = 24 * 3600.0  # failures in a row, however slowly they come
MOST_KEPT = 10_000  # gates, of those that are not in use

Label = tuple[int, str]  # a ledger, and the host and port


class Gate:
    """Of one target. `call` is for workers, everything else for the one task that dispatches."""

    def __init__(self, label: Label, *, open_s: float, clock: Clock) -> None:
        self.label = label
        self.in_flight = 0
        self.streak = 0  # failures without a success in between
        self._has_answered = False
        self._lock = Lock()
        self.breaker = Breaker(
            failures=1, window_s=WINDOW_S, open_s=open_s, counts=self._counts, on_change=self._tell, clock=clock
        )

    @property
    def is_suspect(self) -> bool:
        """Whether one does not know that it works."""
        return not self._has_answered or self.streak >= SUSPECT

    def expect_failure(self) -> None:
        """It failed when another dispatcher had it: unless one knows better, it is no newcomer."""
        with self._lock:
            if not self._has_answered:
                self.streak = max(self.streak, SUSPECT)

    def call(self, task: Callable[[], T]) -> T:
        """`task`, unless the breaker is open. Raises BreakerOpen, or what it raises."""
        outcome = self.breaker.call(self._noting, task)
        if isinstance(outcome, DeliveryFailed):
            raise outcome
        return outcome

    def _noting(self, task: Callable[[], T]) -> T | DeliveryFailed:
        """A target that refuses an event does work: for the breaker that is a success."""
        outcome: T | DeliveryFailed
        try:
            outcome = task()
        except DeliveryFailed as refusal:
            if refusal.status is None or not 400 <= refusal.status < 500 or refusal.status in (408, 429):
                raise
            outcome = refusal
        with self._lock:
            self.streak, self._has_answered = 0, True
        return outcome

    def _counts(self, error: Exception) -> bool:
        """A failure counts when it is one too many in a row; a probe's is."""
        if not isinstance(error, DeliveryFailed):
            return False
        with self._lock:
            self.streak += 1
            return self.streak >= FAILURES

    def _tell(self, _old: State, new: State) -> None:
        log.warning("webhooks of ledger %d: the circuit breaker of %s is %s", *self.label, new.value)


class Gates:
    """All of them, for the one task that dispatches."""

    def __init__(self, *, workers: int, most_each: int, open_s: float, clock: Clock = SYSTEM_CLOCK) -> None:
        self._most_each = most_each
        self._most_failing = max(workers // 2, 1)
        self._most_suspects = max(workers * 3 // 4, 1)
        self._open_s = open_s
        self._clock = clock
        self._gates: dict[Label, Gate] = {}
        self._suspects = 0  # attempts under way at targets that were suspect when they began

    def of(self, label: Label) -> Gate:
        """The gate of a target."""
        gate = self._gates.get(label)
        if gate is None:
            if len(self._gates) >= MOST_KEPT:
                self._gates = {key: kept for key, kept in self._gates.items() if kept.in_flight or kept.streak}
            gate = self._gates[label] = Gate(label, open_s=self._open_s, clock=self._clock)
        return gate

    def has_room(self, gate: Gate) -> bool:
        """Whether another attempt may begin now."""
        state = gate.breaker.state
        if state is State.OPEN:
            return False
        if gate.is_suspect or state is State.HALF_OPEN:
            return gate.in_flight == 0 and self._suspects < (self._most_failing if gate.streak else self._most_suspects)
        return gate.in_flight < self._most_each

    def enter(self, gate: Gate) -> bool:
        """An attempt begins; whether it is one at a suspect, for `leave`."""
        is_suspect = gate.is_suspect
        gate.in_flight += 1
        self._suspects += is_suspect
        return is_suspect

    def leave(self, gate: Gate, was_suspect: bool) -> None:
        """It has ended."""
        gate.in_flight -= 1
        self._suspects -= was_suspect

    def states(self) -> dict[str, int]:
        """How many breakers are in each state."""
        counts = {state.value: 0 for state in State}
        for gate in self._gates.values():
            counts[gate.breaker.state.value] += 1
        return counts
