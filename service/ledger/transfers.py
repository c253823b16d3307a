"""Transfers: the rows of the log, a request to add one, and what can become of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol

from service.concurrency.context import Context
from service.errors import NotFound
from service.ledger.money import GREATEST_ID
from service.ledger.refusals import refusal

Kind = Literal["transfer", "hold", "capture", "release", "expiry", "reversal"]
LONGEST_HOLD_S = 31_622_400  # a leap year
MOST_LINKED = 100
NOT_POSTED = 0  # the id of what a dry run tells
_STATUS_OF_HOLD = {None: "open", "capture": "captured", "release": "released", "expiry": "expired"}


@dataclass(frozen=True, slots=True)
class Transfer:
    """A row of the log, with both accounts' versions and balances right after it, and what was held of the debited one.

    A hold moves nothing: it sets aside. `resolves_id` is the hold that was captured or given back, or the transfer that was
    reversed; `resolved_by_id` and `resolved_as` are the row that did so to this one, as things stand now. `linked_id` is the
    first of the rows that were posted together.
    """

    id: int
    from_account_id: int
    to_account_id: int
    amount: int
    asset: str
    reference: str | None
    metadata: Mapping[str, Any]
    from_version: int
    to_version: int
    from_balance: int
    to_balance: int
    created_at: datetime
    kind: Kind = "transfer"
    from_held: int = 0
    resolves_id: int | None = None
    expires_at: datetime | None = None
    linked_id: int | None = None
    resolved_by_id: int | None = None
    resolved_as: Kind | None = None

    @property
    def status(self) -> str:
        """What became of it until now."""
        if self.kind == "hold":
            return _STATUS_OF_HOLD[self.resolved_as]
        return "posted" if self.resolved_by_id is None else "reversed"

    def version_of(self, account_id: int) -> int:
        """The version that this transfer gave to `account_id`, one of its two accounts."""
        return self.from_version if account_id == self.from_account_id else self.to_version


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Requests that are posted all or none; `fingerprint` is of them all. Two are never equal."""

    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRequest:
    """A row that is to be posted; `amount` in minor units. `fingerprint` goes with `key` and tells requests apart.

    What resolves a hold or reverses a transfer has that as `resolves_id`, and names the accounts as the new row does.
    `expires_in_s` is for holds. A `dry_run` tells what would happen. `trace_parent` is the W3C traceparent of who asks, where
    that is traced; it changes nothing.
    """

    ledger_id: int
    from_account_id: int
    to_account_id: int
    amount: int
    asset: str | None = None
    if_from_version: int | None = None
    reference: str | None = None
    metadata: Mapping[str, Any] | None = None
    key: str | None = None
    kind: Kind = "transfer"
    resolves_id: int | None = None
    expires_in_s: int | None = None
    group: Group | None = None
    dry_run: bool = False
    trace_parent: str | None = field(default=None, compare=False)

    def fingerprint(self) -> bytes:
        """32 bytes that are equal for requests that ask for the same thing; of a group, for all of it."""
        if self.group is not None:
            return self.group.fingerprint
        parts = (self.from_account_id, self.to_account_id, self.amount, self.asset, self.if_from_version, self.reference)
        kind = () if self.kind == "transfer" else (self.kind, self.resolves_id, self.expires_in_s)
        text = json.dumps([*parts, self.metadata or {}, *kind], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()


def link(requests: Sequence[PostRequest]) -> list[PostRequest]:
    """`requests`, to be posted all or none. They have one ledger, one key or none, and are all dry runs, or none is."""
    group = Group(hashlib.sha256(b"".join(request.fingerprint() for request in requests)).digest())
    return [replace(request, group=group) for request in requests]


def capture_of(ledger_id: int, hold: Transfer, *, amount: int | None = None, **more: Any) -> PostRequest:
    """The request that moves what `hold` has set aside, or `amount` of it; `more` are other fields of it."""
    return PostRequest(
        ledger_id=ledger_id, kind="capture", resolves_id=hold.id, from_account_id=hold.from_account_id,
        to_account_id=hold.to_account_id, amount=hold.amount if amount is None else amount, **more,
    )


def release_of(ledger_id: int, hold: Transfer, **more: Any) -> PostRequest:
    """The request that gives back what `hold` has set aside; `more` are other fields of it."""
    return replace(capture_of(ledger_id, hold, **more), kind="release")


def reversal_of(ledger_id: int, original: Transfer, **more: Any) -> PostRequest:
    """The request that moves the amount of `original` back; `more` are other fields of it."""
    return PostRequest(
        ledger_id=ledger_id, kind="reversal", resolves_id=original.id, from_account_id=original.to_account_id,
        to_account_id=original.from_account_id, amount=original.amount, **more,
    )


@dataclass(frozen=True, slots=True)
class Posted:
    """The request took effect as `transfer`; `replayed` when it had done so before under the same key.

    `position` is where the ledger stood then (see `position`).
    """

    transfer: Transfer
    replayed: bool
    position: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A rule refused the request: `code` is of the taxonomy, `field` the part of the request it blames.

    All of a group are refused as one; `leg` is the number of the request in it that is to blame, from 0 on.
    """

    code: str
    field: str
    leg: int | None = None


Outcome = Posted | Refused
Post = Callable[[Context, PostRequest], Outcome]
PostGroup = Callable[[Context, Sequence[PostRequest]], Sequence[Outcome]]

@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which transfers of a ledger: from or to an account, with a reference, from the time `since` on, earlier than `until`.

    `before` is the `position` of the last one on the page before.
    """

    account_id: int | None = None
    reference: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int = GREATEST_ID

    def position(self, transfer: Transfer) -> int:
        """Where `transfer` stands in this list: its id, or in the list of an account the version that it made."""
        by_version = self.account_id is not None and self.reference is None
        return transfer.version_of(self.account_id) if self.account_id is not None and by_version else transfer.id


class TransferStore(Protocol):
    """What the repository does for transfers, apart from posting them."""

    def find_transfer(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer | None: ...
    def find_original(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer | None: ...
    def list_transfers(self, ctx: Context, ledger_id: int, wanted: Wanted, *, limit: int) -> Sequence[Transfer]: ...
    def export_transfers(
        self, ctx: Context, ledger_id: int, wanted: Wanted, *, batch: int
    ) -> Generator[Sequence[Transfer], None, None]: ...


class Transfers:
    """The transfers of all ledgers; every call names the ledger it is about."""

    def __init__(self, store: TransferStore, post: Post, post_group: PostGroup) -> None:
        self._store = store
        self._post = post
        self._post_group = post_group

    def create(self, ctx: Context, request: PostRequest) -> Posted:
        """Post a transfer. Raises the refusal's error, or Overloaded, Unavailable, DeadlineExceeded, OutcomeUnknown."""
        return _accepted(self._post(ctx, request))

    def create_linked(self, ctx: Context, requests: Sequence[PostRequest]) -> Sequence[Posted]:
        """Post what `link` has made of 2 requests or more, all or none. Raises as `create`; fields name the request."""
        return [_accepted(outcome) for outcome in self._post_group(ctx, requests)]

    def find_original(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer:
        """The transfer as its row says, to be resolved or reversed: read where it was written. Raises NotFound."""
        return _found(self._store.find_original(ctx, ledger_id, transfer_id), transfer_id)

    def find(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer:
        """The transfer. Raises NotFound."""
        return _found(self._store.find_transfer(ctx, ledger_id, transfer_id), transfer_id)

    def list(self, ctx: Context, ledger_id: int, wanted: Wanted, *, limit: int = 50) -> Sequence[Transfer]:
        """Up to `limit` transfers, newest first."""
        return self._store.list_transfers(ctx, ledger_id, wanted, limit=limit)

    def export(
        self, ctx: Context, ledger_id: int, wanted: Wanted, *, batch: int
    ) -> Generator[Sequence[Transfer], None, None]:
        """All that are wanted, oldest first, as the ledger is at this moment, in batches; `before` does not count."""
        return self._store.export_transfers(ctx, ledger_id, wanted, batch=batch)


def _accepted(outcome: Outcome) -> Posted:
    if isinstance(outcome, Refused):
        raise refusal(outcome.code, outcome.field, outcome.leg)
    return outcome


def _found(transfer: Transfer | None, transfer_id: int) -> Transfer:
    if transfer is None:
        raise NotFound(f"No transfer {transfer_id} in this ledger.")
    return transfer
