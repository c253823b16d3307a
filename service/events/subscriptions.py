"""Webhooks: who is told of a ledger's events, and what of it is still to be told or was given up.

`dispatcher` does the telling. What is shown here is what the database has: nothing of a delivery that arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from service.concurrency.context import Context
from service.errors import Conflict, NotFound
from service.events.log import EventStore, check_start
from service.events.signing import new_secret
from service.events.targets import Addresses, parse_url

MOST_WEBHOOKS = 100  # of a ledger
MOST_ACCOUNTS = 100  # that a webhook names

Reason = Literal["asked", "gone"]


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook as it is stored, without its secrets. None of `types` and `account_ids` is all.

    `cursor`: every event up to this id is dealt with, but for those that are waiting or dead.
    """

    ledger_id: int
    id: int
    url: str
    types: Sequence[str] | None
    account_ids: Sequence[int] | None
    description: str
    status: Literal["enabled", "disabled"]
    disabled_because: Reason | None
    old_secret_until: datetime | None
    created_at: datetime
    updated_at: datetime
    cursor: int
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that a webhook has not taken yet (`waiting`), or that was given up (`dead`)."""

    event_id: int
    event_type: str
    account_ids: Sequence[int]
    status: Literal["waiting", "dead"]
    attempts: int
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    last_problem: str | None
    died_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """What a webhook is made of. `cursor` None: it is told of what happens from now on."""

    url: str
    types: Sequence[str] | None
    account_ids: Sequence[int] | None
    description: str
    cursor: int | None
    secret: bytes = field(default_factory=new_secret, repr=False)


class WebhookStore(Protocol):
    """What the repository does for those who manage webhooks."""

    def create_webhook(self, ctx: Context, ledger_id: int, made: NewWebhook, *, most: int) -> Webhook | None:
        """Store it, from now on where it has no cursor; None where the ledger has `most` of them."""
        ...

    def find_webhook(self, ctx: Context, ledger_id: int, webhook_id: int) -> Webhook | None: ...
    def list_webhooks(self, ctx: Context, ledger_id: int, *, after: int, limit: int) -> Sequence[Webhook]: ...

    def change_webhook(self, ctx: Context, ledger_id: int, webhook_id: int, changes: Mapping[str, Any]) -> Webhook | None:
        """Change the fields in `changes`: url, types, account_ids, description, status. None where there is none."""
        ...

    def delete_webhook(self, ctx: Context, ledger_id: int, webhook_id: int) -> bool: ...

    def rotate_secret(
        self, ctx: Context, ledger_id: int, webhook_id: int, secret: bytes, *, overlap_s: int
    ) -> Webhook | None:
        """`secret` signs from now on, and the one before for `overlap_s` beside it."""
        ...

    def list_deliveries(
        self, ctx: Context, ledger_id: int, webhook_id: int, *, status: str | None, after: int, limit: int
    ) -> Sequence[Delivery]: ...

    def redeliver(self, ctx: Context, ledger_id: int, webhook_id: int, event_id: int | None) -> int:
        """Let the dead one of that event, or None: every dead one, be attempted anew; how many."""
        ...


class Webhooks:
    """Makes, shows and changes the webhooks of ledgers."""

    def __init__(self, store: WebhookStore, events: EventStore, addresses: Addresses) -> None:
        self._store = store
        self._events = events
        self._addresses = addresses

    def create(
        self, ctx: Context, ledger_id: int, *,
        url: str, types: Sequence[str] | None, account_ids: Sequence[int] | None, description: str, after: int | None,
    ) -> tuple[Webhook, bytes]:
        """Make a webhook that is told of the events after `after`, None: of those that happen from now on; and its secret.

        Raises InvalidInput for a URL or an event that cannot be, Conflict for more than MOST_WEBHOOKS.
        """
        self._check_url(url)
        if after is not None:
            check_start(ctx, self._events, ledger_id, after)
        made = NewWebhook(url, types, account_ids, description, after)
        webhook = self._store.create_webhook(ctx, ledger_id, made, most=MOST_WEBHOOKS)
        if webhook is None:
            raise Conflict(f"A ledger has at most {MOST_WEBHOOKS} webhooks: remove one first.")
        return webhook, made.secret

    def find(self, ctx: Context, ledger_id: int, webhook_id: int) -> Webhook:
        """The webhook. Raises NotFound."""
        return _there(self._store.find_webhook(ctx, ledger_id, webhook_id), webhook_id)

    def list(self, ctx: Context, ledger_id: int, *, after: int = 0, limit: int = 50) -> Sequence[Webhook]:
        """Up to `limit` webhooks with ids above `after`, in id order."""
        return self._store.list_webhooks(ctx, ledger_id, after=after, limit=limit)

    def change(self, ctx: Context, ledger_id: int, webhook_id: int, changes: Mapping[str, Any]) -> Webhook:
        """Change what `changes` names; what it does not name stays. Raises NotFound, and InvalidInput as `create`."""
        if "url" in changes:
            self._check_url(changes["url"])
        return _there(self._store.change_webhook(ctx, ledger_id, webhook_id, changes), webhook_id)

    def delete(self, ctx: Context, ledger_id: int, webhook_id: int) -> None:
        """Remove it with all that it still had to be told. Raises NotFound."""
        if not self._store.delete_webhook(ctx, ledger_id, webhook_id):
            raise _not_found(webhook_id)

    def rotate_secret(self, ctx: Context, ledger_id: int, webhook_id: int, *, overlap_s: int) -> tuple[Webhook, bytes]:
        """Give it a new secret; the one before signs beside it for `overlap_s`. Raises NotFound."""
        secret = new_secret()
        return _there(self._store.rotate_secret(ctx, ledger_id, webhook_id, secret, overlap_s=overlap_s), webhook_id), secret

    def list_deliveries(
        self, ctx: Context, ledger_id: int, webhook_id: int, *, status: str | None, after: int = 0, limit: int = 50
    ) -> Sequence[Delivery]:
        """What is waiting or dead, in the order of events. Raises NotFound."""
        self.find(ctx, ledger_id, webhook_id)
        return self._store.list_deliveries(ctx, ledger_id, webhook_id, status=status, after=after, limit=limit)

    def redeliver(self, ctx: Context, ledger_id: int, webhook_id: int, event_id: int) -> None:
        """Let an event that was given up be attempted anew. Raises NotFound where it is not dead."""
        self.find(ctx, ledger_id, webhook_id)
        if self._store.redeliver(ctx, ledger_id, webhook_id, event_id) == 0:
            raise NotFound(f"Event {event_id} is not among those that were given up for webhook {webhook_id}.")

    def redeliver_all(self, ctx: Context, ledger_id: int, webhook_id: int) -> int:
        """The same for every dead one; how many there were. Raises NotFound."""
        self.find(ctx, ledger_id, webhook_id)
        return self._store.redeliver(ctx, ledger_id, webhook_id, None)

    def _check_url(self, url: str) -> None:
        self._addresses.check_literal(parse_url(url))


def _there(found: Webhook | None, webhook_id: int) -> Webhook:
    if found is None:
        raise _not_found(webhook_id)
    return found


def _not_found(webhook_id: int) -> NotFound:
    return NotFound(f"No webhook {webhook_id} in this ledger.")
