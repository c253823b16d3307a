"""The metrics of a dispatcher: one process, with a registry of its own. docs/operations.md has them in its table.

Ids of webhooks and their hosts are no labels: a client chooses those. `GET /api/webhooks` tells what each is behind.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.events.attempt import Attempted
from service.events.held import Told

ATTEMPT_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
OUTCOMES = ("delivered", "failed", "gone", "postponed")
STATES = ("closed", "open", "half-open")


class WebhookMetrics:
    """For one dispatcher, which tells of each attempt, from one task; `told` is read when the metrics are."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._registry = registry = CollectorRegistry()

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"ledgerd_{name}", meaning, labels, registry=registry)

        self._attempts = Counter("ledgerd_webhook_attempts_total", "Attempts by outcome", ("outcome",), registry=registry)
        self._attempt = Histogram(
            "ledgerd_webhook_attempt_duration_seconds", "Of an attempt", registry=registry, buckets=ATTEMPT_S
        )
        self._dead = Counter("ledgerd_webhook_dead_letters_total", "Events that were given up", registry=registry)
        self._webhooks = gauge("webhooks", "Webhooks that this dispatcher has a lease on")
        self._outstanding = gauge("webhook_events_outstanding", "Events that were read and are neither delivered nor dead")
        self._oldest = gauge("webhook_oldest_seconds", "How long the oldest of these has been here")
        self._busy = gauge("webhook_attempts_in_flight", "Attempts that are under way")
        self._breakers = gauge("webhook_breakers", "Targets by the state of their circuit breaker", "state")
        self._counted_dead = 0
        for outcome in OUTCOMES:
            self._attempts.labels(outcome)

    def attempted(self, attempted: Attempted) -> None:
        """An attempt has ended."""
        self._attempts.labels(attempted.outcome).inc()
        if attempted.outcome != "postponed":
            self._attempt.observe(attempted.took_s)

    def render(self) -> bytes:
        """All of it, as text."""
        told = self._told
        self._dead.inc(told.dead - self._counted_dead)
        self._counted_dead = told.dead
        self._webhooks.set(told.webhooks)
        self._outstanding.set(told.outstanding)
        self._oldest.set(told.oldest_s)
        self._busy.set(told.in_flight)
        for state in STATES:
            self._breakers.labels(state).set(told.breakers.get(state, 0))
        return generate_latest(self._registry)
