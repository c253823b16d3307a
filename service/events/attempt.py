"""One attempt, as a worker makes it: the event as JSON, signed, to where the webhook leads just now."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.concurrency.breaker import BreakerOpen
from service.concurrency.clock import Clock
from service.concurrency.context import Context, with_timeout
from service.errors import InvalidInput, LedgerdError
from service.events.delivery import GONE, DeliveryFailed
from service.events.dispatching import Claimed
from service.events.event import Event
from service.events.gates import Gate, Label
from service.events.log import EventStore
from service.events.outbox import Entry
from service.events.signing import message_id, signed_headers
from service.events.targets import ServiceTarget, Target, parse_url

Render = Callable[[Event], bytes]
Discover = Callable[[Context, int, str], str]  # the address of an instance of a ledger's service; raises Unavailable


class Send(Protocol):
    """As `delivery.Sender.send`."""

    def __call__(self, ctx: Context, target: Target, headers: list[tuple[str, str]], body: bytes) -> int: ...


@dataclass(slots=True)
class Receiver:
    """Where a webhook leads, and what signs; the old secret until `old_until` on the monotonic clock."""

    ledger_id: int
    webhook_id: int
    target: Target | ServiceTarget
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(repr=False)
    old_until: float

    @classmethod
    def of(cls, claimed: Claimed, now: float) -> Receiver:
        """Of a webhook as it is `now`."""
        return cls(
            claimed.lease.ledger_id, claimed.lease.webhook_id, parse_url(claimed.url), claimed.secret, claimed.old_secret,
            now + claimed.old_secret_left_s,
        )

    @property
    def label(self) -> Label:
        """What bounds and breakers go by."""
        target = self.target
        return self.ledger_id, target.label if isinstance(target, Target) else f"service://{target.name}"

    def secrets(self, now: float) -> list[bytes]:
        """Those that sign."""
        return [self.secret] if self.old_secret is None or now >= self.old_until else [self.secret, self.old_secret]


@dataclass(frozen=True, slots=True)
class Attempted:
    """What became of an attempt. `postponed`: none was made, or it was broken off. `wait_s`: for how long at least."""

    event_id: int
    outcome: Literal["delivered", "failed", "gone", "postponed"]
    problem: str = ""
    wait_s: float = 0.0
    took_s: float = 0.0


class Attempts:
    """Makes them; for any number of workers."""

    def __init__(
        self, *, send: Send, render: Render, events: EventStore, discover: Discover, timeout_s: float, clock: Clock
    ) -> None:
        self._send = send
        self._render = render
        self._events = events
        self._discover = discover
        self._timeout_s = timeout_s
        self._clock = clock

    def make(self, ctx: Context, receiver: Receiver, gate: Gate, entry: Entry) -> Attempted:
        """One attempt, within the time for one. Raises nothing that can be foreseen."""
        began = self._clock.now()
        try:
            event = entry.event or self._read(ctx, receiver.ledger_id, entry.event_id)
            body = self._render(event)
        except LedgerdError as error:  # the database cannot be asked
            return Attempted(entry.event_id, "postponed", error.message, 1.0)
        try:
            gate.call(lambda: self._post(ctx, receiver, entry.event_id, body))
            return Attempted(entry.event_id, "delivered", took_s=self._clock.now() - began)
        except DeliveryFailed as failure:
            outcome: Literal["gone", "failed"] = "gone" if failure.status == GONE else "failed"
            took_s = self._clock.now() - began
            return Attempted(entry.event_id, outcome, failure.problem, failure.retry_after_s, took_s)
        except BreakerOpen as refusal:
            return Attempted(entry.event_id, "postponed", wait_s=max(refusal.retry_after_s, 0.1))
        except LedgerdError as error:  # cancelled at the end of the process
            return Attempted(entry.event_id, "postponed", error.message)

    def _read(self, ctx: Context, ledger_id: int, event_id: int) -> Event:
        with with_timeout(ctx, self._timeout_s) as bounded:
            found = self._events.read(bounded, ledger_id, after=event_id - 1, until=event_id, limit=1)
        assert found, "events never go away"
        return found[0]

    def _post(self, ctx: Context, receiver: Receiver, event_id: int, body: bytes) -> None:
        with with_timeout(ctx, self._timeout_s) as bounded:
            target = receiver.target
            if isinstance(target, ServiceTarget):
                target = self._find_instance(bounded, receiver.ledger_id, target)
            message = message_id(receiver.webhook_id, event_id)
            secrets = receiver.secrets(self._clock.now())
            self._send(bounded, target, signed_headers(secrets, message, int(time.time()), body), body)

    def _find_instance(self, ctx: Context, ledger_id: int, service: ServiceTarget) -> Target:
        try:
            return service.at(self._discover(ctx, ledger_id, service.name))
        except InvalidInput as error:
            raise DeliveryFailed(f"the instance's address cannot be used: {error.message}"[:200]) from error
        except LedgerdError as error:
            ctx_error = ctx.error()
            if ctx_error is not None:
                raise
            raise DeliveryFailed(error.message[:200]) from error
