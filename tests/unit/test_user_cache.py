"""A lookup brings the neighbours of a user along, while there is room for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from service.concurrency.context import Context, background
from service.ledger.user import User
from service.ledger.user_cache import BLOCK, MOST_AHEAD, UserCache, UserKey

CTX = background()
THEN = datetime(2026, 1, 1, tzinfo=UTC)


class Store:
    """Has every user of ledger 7 up to `last`; notes what it was asked for, and calls `meanwhile` before it answers."""

    def __init__(self, last: int = 1000) -> None:
        self.last = last
        self.asked: list[Sequence[UserKey]] = []
        self.meanwhile = lambda: None

    def find_user(self, _ctx: Context, ledger_id: int, user_id: int) -> User | None:
        """As the repository."""
        raise NotImplementedError

    def find_users(self, _ctx: Context, keys: Sequence[UserKey]) -> Mapping[UserKey, User]:
        """As the repository."""
        self.asked.append(keys)
        self.meanwhile()
        return {(7, n): User(n, "Ada", f"{n}@x", {}, 1, THEN, THEN) for ledger, n in keys if ledger == 7 and n <= self.last}


def cache_of(store: Store, most: int) -> UserCache:
    """One that is always proved to be told of changes."""
    return UserCache(store, most=most, lifetime_s=60, proved_within=lambda _seconds: True)


def kept(cache: UserCache, ledger_id: int = 7) -> list[int]:
    """The users that are."""
    return [n for n in range(1, 1001) if cache.find_kept((ledger_id, n)) is not None]


def test_the_neighbours_come_along() -> None:
    """Those of its block, once."""
    store = Store()
    cache = cache_of(store, most=100)
    assert (7, 20) in cache.find_many(CTX, [(7, 20)])
    assert kept(cache) == [n for n in range(BLOCK, 2 * BLOCK) if n != 20]
    cache.find_many(CTX, [(7, 21)])
    assert store.asked[1] == [(7, 21), (7, 20)]


def test_those_who_are_not_there_are_not_kept() -> None:
    """Behind the last, before the first, and in another ledger."""
    store = Store(last=18)
    cache = cache_of(store, most=100)
    assert set(cache.find_many(CTX, [(7, 17), (7, 1), (8, 40)])) >= {(7, 17), (7, 1)}
    assert kept(cache) == [*range(2, 17), 18]
    assert kept(cache, 8) == []
    assert store.asked[0][:3] == [(7, 17), (7, 1), (8, 40)]


def test_only_as_many_as_there_is_room_for() -> None:
    """Nobody is driven out for a neighbour."""
    cache = cache_of(Store(), most=5)
    cache.find_many(CTX, [(7, 20)])
    assert len(kept(cache)) == 4
    cache.find_many(CTX, [(7, 100)])
    assert len(kept(cache)) == 4
    assert all(BLOCK <= n < 2 * BLOCK for n in kept(cache))
    for most in (0, 1):
        store = Store()
        cache_of(store, most=most).find_many(CTX, [(7, 20)])
        assert store.asked == [[(7, 20)]]


def test_one_query_brings_a_bounded_number() -> None:
    """However many ask at once."""
    store = Store()
    cache_of(store, most=10_000).find_many(CTX, [(7, n) for n in range(1, 1000, BLOCK)])
    assert len(store.asked[0]) == len(range(1, 1000, BLOCK)) + MOST_AHEAD


def test_a_neighbour_that_changes_meanwhile_is_not_kept() -> None:
    """The query may have seen what was there before the change."""
    store = Store()
    cache = cache_of(store, most=100)
    store.meanwhile = lambda: cache.hear("7:21:1")
    cache.find_many(CTX, [(7, 20)])
    assert 21 not in kept(cache)
    assert 22 in kept(cache)
