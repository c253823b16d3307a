"""API keys: checked in constant time, kept for a second, revoked soon."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.concurrency.context import Context, background, with_cancel
from service.errors import ClientClosedRequest, LedgerdError, NotFound, Unauthenticated, Unavailable
from service.ledger import keys as module
from service.ledger.keys import KEPT_S, ApiKey, Keys, Principal
from service.ledger.scopes import expand
from tests.serving import wait_until


class Table:
    """The keys of a KeyStore in a dictionary; counts how often it is asked."""

    def __init__(self) -> None:
        self.rows: dict[str, ApiKey] = {}
        self.asked = 0

    def find_keys(self, ctx: Context, key_id: str) -> Sequence[ApiKey]:
        self.asked += 1
        return [self.rows[key_id]] if key_id in self.rows else []

    def list_keys(self, ctx: Context) -> Sequence[ApiKey]:
        return list(self.rows.values())

    def create_key(
        self, ctx: Context, *, ledger: str, key_id: str, name: str, secret_hash: bytes, scopes: Sequence[str]
    ) -> bool:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        self.rows[key_id] = ApiKey(7, ledger, key_id, name, secret_hash, tuple(scopes), now, None)
        return True

    def revoke_key(self, ctx: Context, key_id: str) -> bool:
        if key_id in self.rows:
            self.rows[key_id] = replace(self.rows[key_id], revoked_at=datetime(2026, 1, 2, tzinfo=UTC))
        return key_id in self.rows


class Clock:
    """A clock that is turned by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_key_tells_its_ledger_and_scopes() -> None:
    """Only the hash of the secret is stored."""
    table = Table()
    keys = Keys(table)
    token, _ = keys.create(background(), ledger="main", scopes=["read"])
    assert keys.authenticate(background(), token) == Principal(7, token.split("_")[1], expand(["read"]))
    (row,) = table.rows.values()
    assert row.secret_hash == hashlib.sha256(token.split("_")[2].encode()).digest()


def test_a_key_is_looked_up_once_a_second() -> None:
    """And a revoked one is refused when that second is over."""
    table, clock = Table(), Clock()
    keys = Keys(table, clock)
    token, _ = keys.create(background(), ledger="main", scopes=["read"])
    for _ in range(5):
        keys.authenticate(background(), token)
    assert table.asked == 1
    keys.revoke(background(), token.split("_")[1])
    keys.authenticate(background(), token)
    clock.now = KEPT_S
    with pytest.raises(Unauthenticated):
        keys.authenticate(background(), token)


class SlowTable(Table):
    """A lookup waits until it is let go, or until its caller's time is up; it fails if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way, self.go, self.error = threading.Event(), threading.Event(), None

    def find_keys(self, ctx: Context, key_id: str) -> Sequence[ApiKey]:
        found = super().find_keys(ctx, key_id)
        self.under_way.set()
        wait_until(lambda: self.go.is_set() or ctx.error() is not None, 10, every_s=0.005)
        ctx.check()
        if self.error is not None:
            raise self.error
        return found


def ask_at_once(table: SlowTable, *, first_leaves: bool = False) -> list[object]:
    """What 8 callers get who want the same key while it is looked up for the first of them."""
    first = with_cancel(background())
    keys = Keys(table)
    token, _ = keys.create(background(), ledger="main", scopes=["read"])
    answers: list[object] = []

    def ask(ctx: Context) -> None:
        try:
            answers.append(keys.authenticate(ctx, token).ledger_id)
        except LedgerdError as error:
            answers.append(type(error))

    threads = [threading.Thread(target=ask, args=(ctx,), daemon=True) for ctx in (first, *[background()] * 7)]
    threads[0].start()
    assert table.under_way.wait(10)
    for thread in threads[1:]:
        thread.start()
    lookup = next(iter(keys._lookups.values()))
    wait_until(lambda: len(lookup.ended._callbacks or ()) == 7 or lookup.ended.error() is not None, 10)
    if first_leaves:
        first.cancel(ClientClosedRequest("gone"))
        threads[0].join(10)
    table.go.set()
    for thread in threads:
        thread.join(10)
    assert keys._lookups == {}
    return answers


def test_one_lookup_serves_all_who_wait_for_it() -> None:
    """Where the database is slow, a lookup for each request would take every connection."""
    table = SlowTable()
    assert ask_at_once(table) == [7] * 8
    assert table.asked == 1


def test_a_lookup_that_fails_fails_for_all_who_wait_for_it() -> None:
    """They do not queue up to find out one after the other that the database is away."""
    table = SlowTable()
    table.error = Unavailable("down")
    assert ask_at_once(table) == [Unavailable] * 8
    assert table.asked == 1


def test_a_lookup_that_is_given_up_is_made_by_the_next() -> None:
    """That one caller has left is nobody else's concern."""
    table = SlowTable()
    answers = ask_at_once(table, first_leaves=True)
    assert sorted(answers, key=str) == [7] * 7 + [ClientClosedRequest]
    assert table.asked == 2


def test_guesses_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown ids push out nothing, and what is kept has a bound."""
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    keys = Keys(Table())
    tokens = [keys.create(background(), ledger="main", scopes=["read"])[0] for _ in range(3)]
    for token in tokens:
        keys.authenticate(background(), token)
    with pytest.raises(Unauthenticated):
        keys.authenticate(background(), "ldg_" + "0" * 12 + "_" + "0" * 64)
    assert list(keys._kept) == [token.split("_")[1] for token in tokens[1:]]


def test_another_secret_is_refused() -> None:
    """Also right after the true one was accepted."""
    keys = Keys(Table())
    token, _ = keys.create(background(), ledger="main", scopes=["read"])
    keys.authenticate(background(), token)
    with pytest.raises(Unauthenticated):
        keys.authenticate(background(), token[:-64] + "0" * 64)


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (["read"], ["users:read"]),
        (["write"], ["users:read", "users:write"]),
        (["admin"], ["users:read", "users:write", "keys:write"]),
        (["operator"], ["keys:write", "ledgers:write"]),
        (["users:write"], ["users:write"]),
        (["accounts:read", "keys:write"], ["keys:write"]),
        ([], []),
    ],
)
def test_bundles_stand_for_fine_scopes(scopes: list[str], may: list[str]) -> None:
    """Each of data includes the one before it; a fine scope grants itself alone."""
    principal = Principal(1, "k", expand(scopes))
    assert [scope for scope in ("users:read", "users:write", "keys:write", "ledgers:write") if principal.may(scope)] == may


def test_revoking_an_unknown_key_is_an_error() -> None:
    """It says where the ids are."""
    with pytest.raises(NotFound, match="ledgerd key list"):
        Keys(Table()).revoke(background(), "nobody")
