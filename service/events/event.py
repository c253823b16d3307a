"""Events: each row of the log of transfers is one, and each change of an account. They never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.ledger.transfers import Kind, Transfer

_TYPE_OF_TRANSFER: Mapping[Kind, str] = {
    "transfer": "transfer.posted",
    "hold": "hold.placed",
    "capture": "hold.captured",
    "release": "hold.released",
    "expiry": "hold.expired",
    "reversal": "transfer.reversed",
}
EVENT_TYPES = (*_TYPE_OF_TRANSFER.values(), "account.created", "account.updated")


@dataclass(frozen=True, slots=True)
class AccountChange:
    """An account's owner and settings, as a change has left them; limits in minor units. `id` is the change's."""

    id: int
    account_id: int
    user_id: int | None
    asset: str
    status: str
    min_balance: int | None
    max_balance: int | None
    metadata: Mapping[str, Any]
    settings_version: int
    changed_at: datetime
    opened: bool  # the change was the account's beginning


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a ledger: a row of it. A transfer is as it was posted, whatever became of it later."""

    ledger_id: int
    subject: Transfer | AccountChange

    @property
    def id(self) -> int:
        """The row's id. All events of a ledger are in the order of their ids."""
        return self.subject.id

    @property
    def type(self) -> str:
        """One of EVENT_TYPES."""
        if isinstance(self.subject, Transfer):
            return _TYPE_OF_TRANSFER[self.subject.kind]
        return "account.created" if self.subject.opened else "account.updated"

    @property
    def at(self) -> datetime:
        """When it happened."""
        return self.subject.created_at if isinstance(self.subject, Transfer) else self.subject.changed_at

    @property
    def account_ids(self) -> tuple[int, ...]:
        """The accounts that it is about; of a transfer the debited one first."""
        if isinstance(self.subject, Transfer):
            return self.subject.from_account_id, self.subject.to_account_id
        return (self.subject.account_id,)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events somebody wants: of some types, about one of some accounts. None is all."""

    types: frozenset[str] | None = None
    account_ids: frozenset[int] | None = None

    def wants(self, event: Event) -> bool:
        """Whether `event` is one of them."""
        if self.types is not None and event.type not in self.types:
            return False
        return self.account_ids is None or not self.account_ids.isdisjoint(event.account_ids)
