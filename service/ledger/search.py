"""Search over users, accounts and the references of transfers: by words, by the beginning of words, and by ids.

A user is found by name and email, an account by the texts in its metadata, in any order of words and without regard to case
and accents; each word that is asked for must begin one of theirs. A transfer is found by how its reference begins. Digits also
find what has that id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, Protocol

from service.concurrency.context import Context, with_timeout
from service.errors import FieldError, InvalidInput
from service.ledger.accounts import Account
from service.ledger.money import GREATEST_ID
from service.ledger.transfers import Transfer
from service.ledger.user import User

Kind = Literal["user", "account", "transfer"]
KINDS: tuple[Kind, ...] = ("user", "account", "transfer")
SHORTEST, LONGEST = 2, 200  # characters of what is asked for


class Rank(IntEnum):
    """How well something fits."""

    BEGINS = 1  # each word asked for begins one of its words
    WHOLE = 2  # each is one of its words, or the whole reference
    ID = 3


@dataclass(frozen=True, slots=True)
class Hit:
    """Where something was found that fits, and how well."""

    kind: Kind
    id: int
    rank: Rank


@dataclass(frozen=True, slots=True)
class Found:
    """What fits, as it is stored."""

    kind: Kind
    rank: Rank
    thing: User | Account | Transfer


class SearchStore(Protocol):
    """What the repository does for searching. Of each kind up to `limit` hits, the best first."""

    def search(self, ctx: Context, ledger_id: int, text: str, *, number: int | None, limit: int) -> Sequence[Found]: ...


class Search:
    """Searches any ledger, for `timeout_s` seconds at most."""

    def __init__(self, store: SearchStore, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s

    def find(self, ctx: Context, ledger_id: int, text: str, *, limit: int = 20) -> Sequence[Found]:
        """Up to `limit` things, the best first, then users before accounts before transfers.

        Raises InvalidInput for a text of fewer than 2 or more than 200 characters (digits may be one), DeadlineExceeded when
        the time is up; then nothing goes on at the database.
        """
        text = text.strip()
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= GREATEST_ID else None
        if not (len(text) >= SHORTEST or number) or len(text) > LONGEST:
            message = f"expected {SHORTEST} to {LONGEST} characters, or an id"
            raise InvalidInput(f"q: {message}.", fields=(FieldError("q", message),))
        with with_timeout(ctx, self._timeout_s) as bounded:
            found = self._store.search(bounded, ledger_id, text, number=number, limit=limit)
        return sorted(found, key=lambda one: (-one.rank, KINDS.index(one.kind)))[:limit]
