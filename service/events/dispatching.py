"""What a dispatcher and the database say to each other: leases, what is outstanding, and what is to be written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.concurrency.context import Context
from service.events.event import Filter
from service.events.outbox import Entry, Progress

Key = tuple[int, int]  # a ledger and a webhook of it


@dataclass(frozen=True, slots=True)
class Lease:
    """A webhook that this dispatcher has, for as long as nobody has drawn a greater token."""

    ledger_id: int
    webhook_id: int
    token: int

    @property
    def key(self) -> Key:
        """The webhook, whoever has it."""
        return self.ledger_id, self.webhook_id


@dataclass(frozen=True, slots=True)
class Claimed:
    """A webhook as it is now. `old_secret` signs as well for `old_secret_left_s`; None: there is none."""

    lease: Lease
    revision: int
    url: str
    filter: Filter
    secret: bytes = field(repr=False)
    old_secret: bytes | None = field(repr=False)
    old_secret_left_s: float
    cursor: int


@dataclass(frozen=True, slots=True)
class Written:
    """What is to be written of a webhook. `gone`: its receiver wants nothing any more."""

    lease: Lease
    progress: Progress
    gone: bool


class DispatchStore(Protocol):
    """What the repository does for dispatchers."""

    def claim(self, ctx: Context, *, lease_s: float, limit: int) -> Sequence[Lease]:
        """Take a lease on up to `limit` webhooks that nobody has one on."""
        ...

    def find_claimed(self, ctx: Context, lease: Lease) -> Claimed | None:
        """The webhook as it is now; None where it is another's, disabled or not there any more."""
        ...

    def list_outstanding(self, ctx: Context, key: Key, *, now: float) -> Sequence[Entry]:
        """What is waiting; `now` is the time on the clock of the entries."""
        ...

    def list_dead_after(self, ctx: Context, key: Key, event_id: int) -> Collection[int]:
        """The events above `event_id` that are dead."""
        ...

    def look(self, ctx: Context, leases: Sequence[Lease], *, renew_for_s: float | None) -> Mapping[Key, int]:
        """Those that are still held and enabled, with their revisions; with `renew_for_s` they are renewed as well."""
        ...

    def release(self, ctx: Context, leases: Sequence[Lease]) -> None:
        """Let others have them at once."""
        ...

    def write(self, ctx: Context, written: Sequence[Written]) -> Collection[Key]:
        """Write all of it in one transaction, but for what is another's by now; returns what was this dispatcher's."""
        ...

    def prune(self, ctx: Context, leases: Sequence[Lease], *, keep_s: float, most: int) -> None:
        """Remove what has been dead for `keep_s`, and the oldest dead of more than `most`, of each."""
        ...
