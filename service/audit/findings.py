"""What an examination of a ledger is made of: the parts that can be examined on their own, and what is found in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.ledger.money import GREATEST_ID

LEAST = -(2**63)  # below every id and version that the database can hold, also those that nobody has drawn
MOST_FINDINGS = 20  # of one kind in one part: where all is wrong, the first say enough


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. `code` is for programs; `found` and `expected` are for people.

    `transfer_id`, `account_id` and `seal` say where, as far as that is known.
    """

    code: str
    ledger: str
    transfer_id: int | None
    account_id: int | None
    seal: int | None
    found: str
    expected: str


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A seal without its marks."""

    number: int
    first_id: int
    last_id: int
    transfers: int
    sealed_at: datetime
    rows_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a ledger, for one process to examine. It covers what is above `after`, up to `until`.

    Of `rows` these are ids of transfers, and `seals` are all seals over them, each with the id after which it begins.
    Of `entries` they are ids of accounts; where that is a single one, it may be a stretch of its versions. `sums` is what
    concerns the ledger as a whole. `weight` is how many rows it reads, about.
    """

    kind: Literal["rows", "entries", "sums"]
    ledger_id: int
    ledger: str
    weight: int
    after: int = LEAST
    until: int = GREATEST_ID
    after_version: int = LEAST
    until_version: int = GREATEST_ID
    seals: Sequence[tuple[int, StoredSeal]] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """What came of a part: `failure` says why it could not be examined."""

    weight: int
    findings: Sequence[Finding] = ()
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """What there is in a ledger, and its last seal."""

    ledger_id: int
    ledger: str
    seals: int
    sealed: int
    unsealed: int
    entries: int
    last_number: int | None
    last_id: int | None
    last_hash: bytes | None

    @property
    def weight(self) -> int:
        """How many rows its examination reads, about."""
        return self.sealed + self.unsealed + self.entries
