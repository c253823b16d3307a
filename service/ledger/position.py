"""Positions: where a ledger stood after a write, so that a later read can ask for a server that has come so far.

A position is the number of the transaction that wrote. A server has reached it when it shows what that transaction did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from service.concurrency.context import Key

T = TypeVar("T")

POSITIONS: Key[tuple[int, ...]] = Key("positions that a read must have reached")


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a write made, and its position."""

    thing: T
    position: int
