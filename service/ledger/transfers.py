"""Transfers: the rows of the log, a request to add one, and what can become of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from service.concurrency.context import Context
from service.errors import FieldError, LedgerdError, NotFound, taxonomy
from service.ledger.money import GREATEST_ID


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer as it is stored, with both accounts' versions and balances right after it."""

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

    def version_of(self, account_id: int) -> int:
        """The version that this transfer gave to `account_id`, one of its two accounts."""
        return self.from_version if account_id == self.from_account_id else self.to_version


@dataclass(frozen=True, slots=True, kw_only=True)
class PostRequest:
    """A transfer that is to be posted; `amount` in minor units. `fingerprint` goes with `key` and tells requests apart.

    `trace_parent` is the W3C traceparent of who asks, where that is traced; it changes nothing.
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
    trace_parent: str | None = field(default=None, compare=False)

    def fingerprint(self) -> bytes:
        """32 bytes that are equal for requests that ask for the same thing."""
        parts = (self.from_account_id, self.to_account_id, self.amount, self.asset, self.if_from_version, self.reference)
        text = json.dumps([*parts, self.metadata or {}], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()


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
    """A rule refused the request: `code` is of the taxonomy, `field` the part of the request it blames."""

    code: str
    field: str


Outcome = Posted | Refused

_ERRORS = taxonomy()
_REFUSALS = {
    ("same_account", "to_account_id"): "A transfer needs two different accounts.",
    ("not_found", "from_account_id"): "No such account to debit in this ledger.",
    ("not_found", "to_account_id"): "No such account to credit in this ledger.",
    ("asset_mismatch", "to_account_id"): "The two accounts hold different assets.",
    ("asset_mismatch", "asset"): "The accounts hold another asset than the request names.",
    ("account_closed", "from_account_id"): "The account to debit is closed.",
    ("account_closed", "to_account_id"): "The account to credit is closed.",
    ("account_frozen", "from_account_id"): "The account to debit is frozen.",
    ("account_frozen", "to_account_id"): "The account to credit is frozen.",
    ("version_mismatch", "if_from_version"): "The account to debit has another version than the request expects.",
    ("insufficient_funds", "amount"): "The debit would take the account below its min_balance.",
    ("limit_exceeded", "from_account_id"): "The debit would take the balance below -(2^53-1).",
    ("limit_exceeded", "to_account_id"): "The credit would take the account above its max_balance, or above 2^53-1.",
    ("idempotency_key_reused", "Idempotency-Key"): "This key was used for another request; take a new key for a new request.",
}


def refusal(refused: Refused) -> LedgerdError:
    """The error of the taxonomy that tells a client of `refused`."""
    message = _REFUSALS[refused.code, refused.field]
    return _ERRORS[refused.code](message, fields=(FieldError(refused.field, message),))


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
    def list_transfers(self, ctx: Context, ledger_id: int, wanted: Wanted, *, limit: int) -> Sequence[Transfer]: ...
    def export_transfers(
        self, ctx: Context, ledger_id: int, wanted: Wanted, *, batch: int
    ) -> Generator[Sequence[Transfer], None, None]: ...


class Transfers:
    """The transfers of all ledgers; every call names the ledger it is about."""

    def __init__(self, store: TransferStore, post: Callable[[Context, PostRequest], Outcome]) -> None:
        self._store = store
        self._post = post

    def create(self, ctx: Context, request: PostRequest) -> Posted:
        """Post a transfer. Raises the refusal's error, or Overloaded, Unavailable, DeadlineExceeded, OutcomeUnknown."""
        outcome = self._post(ctx, request)
        if isinstance(outcome, Refused):
            raise refusal(outcome)
        return outcome

    def find(self, ctx: Context, ledger_id: int, transfer_id: int) -> Transfer:
        """The transfer. Raises NotFound."""
        transfer = self._store.find_transfer(ctx, ledger_id, transfer_id)
        if transfer is None:
            raise NotFound(f"No transfer {transfer_id} in this ledger.")
        return transfer

    def list(self, ctx: Context, ledger_id: int, wanted: Wanted, *, limit: int = 50) -> Sequence[Transfer]:
        """Up to `limit` transfers, newest first."""
        return self._store.list_transfers(ctx, ledger_id, wanted, limit=limit)

    def export(
        self, ctx: Context, ledger_id: int, wanted: Wanted, *, batch: int
    ) -> Generator[Sequence[Transfer], None, None]:
        """All that are wanted, oldest first, as the ledger is at this moment, in batches; `before` does not count."""
        return self._store.export_transfers(ctx, ledger_id, wanted, batch=batch)
