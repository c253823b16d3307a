"""Users, cache first: read from what this worker keeps, else from the database; a change is kept as soon as it is committed.

How old a kept user may be, and how changes elsewhere are learnt, is said in `kept`. A read that asks for a position in the
ledger, or for the database itself, passes the cache by. Accounts and their balances are never kept.

A worker begins with nothing kept, and a lookup costs it many times what a kept user does. So while there is room, a lookup
brings the neighbours along, by id: ten thousand users are kept after some six hundred lookups. Where there is no room they
would drive out what is used, and stay where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from service.concurrency.context import Context
from service.concurrency.primitives import monotonic
from service.ledger.kept import Begun, Kept
from service.ledger.lookups import Lookups
from service.ledger.position import POSITIONS, Written
from service.ledger.user import User

_TOLD = re.compile(r"([0-9]{1,19}):([0-9]{1,19}):([0-9]{1,20})", re.ASCII)  # ledger, user, transaction

BLOCK = 16  # ids that are brought together
MOST_AHEAD = 240  # users that one query brings along

UserKey = tuple[int, int]  # the ledger's id and the user's


@dataclass(slots=True, eq=False)
class FoundUser:
    """A user as it was found. Whoever first shows it leaves the encoded `body` here for the next, and its `head`."""

    user: User
    body: bytes | None = None
    head: str = ""  # the answer's own headers, as the lines that are sent


class FindUser(Protocol):
    """What the repository does for reads. What it finds is from the primary, and has reached the positions of `ctx`."""

    def find_user(self, ctx: Context, ledger_id: int, user_id: int) -> User | None: ...

    def find_users(self, ctx: Context, keys: Sequence[UserKey]) -> Mapping[UserKey, User]: ...


class UserCache:
    """See the module. `most` users are kept, none where it is 0; `on_lookup` is told of each lookup whether it was a hit.

    `look_up` finds what is not kept, and is the store's way unless given; reads at a position always take the store's.
    """

    def __init__(
        self,
        store: FindUser,
        *,
        most: int,
        lifetime_s: float,
        look_up: Callable[[Context, UserKey], User | None] | None = None,
        proved_within: Callable[[float], bool] = lambda _seconds: False,
        on_lookup: Callable[[bool], None] = lambda _hit: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._is_on = most > 0
        self._most = most
        self._find = look_up or (lambda ctx, key: store.find_user(ctx, *key))
        self._on_lookup = on_lookup
        self._kept: Kept[UserKey, FoundUser] = Kept(
            most=most, lifetime_s=lifetime_s, proved_within=proved_within, clock=clock
        )
        self._lookups: Lookups[UserKey, FoundUser | None] = Lookups(self._look_up, self._kept.begin)
        self.begin = self._kept.begin
        self.drop = self._kept.drop
        self.drop_all = self._kept.drop_all

    def find(self, ctx: Context, key: UserKey, *, anew: bool = False) -> FoundUser | None:
        """The user, or None where there is none. `anew`: as the database has it now."""
        if ctx.value(POSITIONS) is not None:
            user = self._store.find_user(ctx, *key)
            return None if user is None else FoundUser(user)
        if not self._is_on:
            return self._look_up(ctx, key)
        if not anew:
            kept = self._kept.find(key)
            self._on_lookup(kept is not None)
            if kept is not None:
                return kept
        lookup = self._lookups.find(ctx, key, anew=anew)
        if lookup.found is None:
            self._kept.drop(key)
        else:
            self._kept.keep(key, lookup.found, lookup.begun)
        return lookup.found

    def find_many(self, ctx: Context, keys: Sequence[UserKey]) -> Mapping[UserKey, User]:
        """Those that are there, as the database has them now; their neighbours are kept."""
        ahead = [(key, self._kept.begin(key)) for key in self._neighbours(keys)]
        found = self._store.find_users(ctx, [*keys, *(key for key, _ in ahead)])
        for key, begun in ahead:
            if (user := found.get(key)) is not None:
                self._kept.keep(key, FoundUser(user), begun)
        return found

    def _neighbours(self, keys: Sequence[UserKey]) -> Sequence[UserKey]:
        """Those of the same blocks that are not kept, as many as there is room for."""
        room = min(self._most - len(self._kept) - len(keys), MOST_AHEAD)
        if room <= 0:
            return ()
        wanted, blocks = set(keys), {(ledger_id, user_id // BLOCK): None for ledger_id, user_id in keys}
        near = ((ledger_id, block * BLOCK + n) for ledger_id, block in blocks for n in range(BLOCK))
        return list(islice((key for key in near if key not in wanted and key not in self._kept), room))

    def find_kept(self, key: UserKey) -> FoundUser | None:
        """The user, if it is kept."""
        kept = self._kept.find(key) if self._is_on else None
        if kept is not None:
            self._on_lookup(True)
        return kept

    def changed(self, key: UserKey, written: Written[User] | None, begun: Begun) -> None:
        """A change that had `begun` has ended: with what it has written, or (None) nobody knows how."""
        if written is None:
            self._kept.drop(key)
        else:
            self._kept.keep_changed(key, FoundUser(written.thing), begun, written.position)

    def hear(self, payload: str) -> None:
        """Of a transaction that has changed or removed a user; where the payload is not clear, anything may have changed."""
        told = _TOLD.fullmatch(payload)
        if told is None:
            self._kept.drop_all()
        else:
            ledger_id, user_id, change = map(int, told.groups())
            self._kept.drop((ledger_id, user_id), change)

    def _look_up(self, ctx: Context, key: UserKey) -> FoundUser | None:
        user = self._find(ctx, key)
        return None if user is None else FoundUser(user)
