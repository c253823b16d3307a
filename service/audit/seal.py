"""Seals: fingerprints of the log, each over a range of rows and over the seal before.

Whoever keeps one seal elsewhere can prove later that no row up to it was changed, removed or put in. What exactly is hashed is
specified in docs/api.md, and a test recomputes the example there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from service.concurrency.context import Context

BEFORE_THE_FIRST = bytes(32)  # what the first seal has as the hash of the one before
MARK_BYTES = 16  # of each row in `marks`: its id, and the beginning of its digest
MOST_ROWS = 10_000  # under one seal


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal as it is stored. `previous_hash` is that of the seal before; None where that is gone."""

    ledger_id: int
    number: int
    first_id: int
    last_id: int
    transfers: int
    sealed_at: datetime
    rows_hash: bytes
    hash: bytes
    previous_hash: bytes | None


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a ledger is sealed: up to which id, 0 for none, and since when there is a row that is not."""

    sealed_to: int
    unsealed_since: datetime | None


Numbers = tuple[int, int, int, int, int]  # of a seal: ledger_id, number, first_id, last_id, transfers


def seal_hash(numbers: Numbers, *, rows_hash: bytes, sealed_at: datetime, previous_hash: bytes) -> bytes:
    """The hash of a seal: SHA-256 of its text. `sealed_at` has a zone."""
    moment = sealed_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    text = f'[{",".join(map(str, numbers))},"{rows_hash.hex()}","{moment}","{previous_hash.hex()}"]'
    return hashlib.sha256(text.encode()).digest()


class SealStore(Protocol):
    """What the repository does for those who read seals."""

    def list_seals(self, ctx: Context, ledger_id: int, *, before: int, limit: int) -> tuple[Sequence[Seal], Standing]: ...


class Seals:
    """The seals of all ledgers; every call names the ledger it is about."""

    def __init__(self, store: SealStore) -> None:
        self._store = store

    def list(self, ctx: Context, ledger_id: int, *, before: int, limit: int = 50) -> tuple[Sequence[Seal], Standing]:
        """Up to `limit` seals with numbers below `before`, newest first, and how far sealing is."""
        return self._store.list_seals(ctx, ledger_id, before=before, limit=limit)
