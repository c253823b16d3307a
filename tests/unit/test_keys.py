"""API keys are made, rotated and revoked; bundles of scopes stand for fine ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.concurrency.context import Context, background
from service.errors import Conflict, Forbidden, InvalidInput, NotFound
from service.ledger.grants import Grant
from service.ledger.keys import ApiKey, Keys, Token
from service.ledger.principal import Principal
from service.ledger.scopes import expand

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ADMIN = Principal(7, "giver", expand(["admin"]))


class Table:
    """A KeyStore in a dictionary, on a clock that stands still."""

    def __init__(self) -> None:
        self.rows: dict[str, ApiKey] = {}
        self.hashes: list[bytes] = []

    def find_time(self, ctx: Context) -> datetime:
        return NOW

    def find_key(self, ctx: Context, key_id: str, ledger_id: int | None) -> ApiKey | None:
        row = self.rows.get(key_id)
        return row if row is not None and ledger_id in (None, row.ledger_id) else None

    def list_keys(self, ctx: Context, ledger: int | str, *, after: int, limit: int) -> Sequence[ApiKey]:
        return [row for row in self.rows.values() if ledger in (row.ledger, row.ledger_id) and row.number > after][:limit]

    def list_all_keys(self, ctx: Context, ledger: str | None) -> Sequence[ApiKey]:
        return list(self.rows.values())

    def create_key(
        self, ctx: Context, ledger: int | str, token: Token, grant: Grant, *, make_ledger: bool
    ) -> tuple[ApiKey, bool]:
        row = ApiKey(
            ledger if isinstance(ledger, int) else 8, str(ledger), token.key_id, len(self.rows) + 1, grant.name, grant.scopes,
            grant.debit_accounts, grant.rate_per_s, grant.burst, NOW, grant.expires_at, None, None, None,
        )
        self.rows[row.id] = row
        self.hashes.append(token.secret_hash)
        return row, make_ledger

    def replace_key(self, ctx: Context, old: ApiKey, token: Token, grant: Grant, overlap_s: int) -> ApiKey | None:
        if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= NOW):
            return None
        ends = NOW + timedelta(seconds=overlap_s)
        self.rows[old.id] = replace(old, replaced_by=token.key_id, expires_at=min(old.expires_at or ends, ends))
        return self.create_key(ctx, old.ledger_id, token, grant, make_ledger=False)[0]

    def revoke_key(self, ctx: Context, key_id: str, ledger_id: int | None) -> bool:
        if (row := self.find_key(ctx, key_id, ledger_id)) is not None:
            self.rows[key_id] = replace(row, revoked_at=row.revoked_at or NOW)
        return row is not None


def test_only_the_hash_of_a_secret_is_stored() -> None:
    """The token is shown to whoever makes the key, and nowhere else."""
    table = Table()
    made = Keys(table).create(background(), Grant(scopes=("read",)), ledger="main")
    kind, key_id, secret = made.token.split("_")
    assert (kind, key_id, len(secret)) == ("ldg", made.key.id, 64)
    assert table.hashes == [hashlib.sha256(secret.encode()).digest()]
    assert secret not in repr(made.key)


def test_a_key_makes_keys_of_its_own_ledger() -> None:
    """Only an operator names another."""
    keys = Keys(Table())
    assert keys.create(background(), Grant(scopes=("read",)), by=ADMIN).key.ledger_id == 7
    with pytest.raises(Forbidden) as caught:
        keys.create(background(), Grant(scopes=("read",)), by=ADMIN, ledger="shop")
    assert [problem.field for problem in caught.value.fields] == ["ledger"]
    operator = replace(ADMIN, scopes=expand(["operator"]))
    assert keys.create(background(), Grant(scopes=("admin",)), by=operator, ledger="shop").key.ledger == "shop"


def test_a_refused_key_is_not_made() -> None:
    """The rule is checked before anything is stored."""
    table = Table()
    with pytest.raises(Forbidden):
        Keys(table).create(background(), Grant(scopes=("operator",)), by=ADMIN)
    assert table.rows == {}


def test_a_lifetime_begins_now_by_the_databases_clock() -> None:
    """And it is bounded."""
    keys = Keys(Table())
    made = keys.create(background(), Grant(scopes=("read",)), ledger="main", lifetime_s=90)
    assert made.key.expires_at == NOW + timedelta(seconds=90)
    for wrong in (NOW, NOW - timedelta(days=1), NOW + timedelta(days=4000)):
        with pytest.raises(InvalidInput) as caught:
            keys.create(background(), Grant(scopes=("read",), expires_at=wrong), ledger="main")
        assert [problem.field for problem in caught.value.fields] == ["expires_at"]


def test_a_rotated_key_is_followed_by_its_like() -> None:
    """The new one is given the same, and lives as long again; the old one ends after the overlap."""
    table = Table()
    keys = Keys(table)
    grant = Grant(scopes=("transfers:write",), name="till", debit_accounts=(4,), rate_per_s=9, burst=2)
    old = keys.create(background(), grant, ledger="shop", lifetime_s=1000).key
    new = keys.rotate(background(), old.id, overlap_s=60).key
    assert replace(new, id=old.id, number=old.number, ledger=old.ledger) == old
    assert table.rows[old.id].expires_at == NOW + timedelta(seconds=60)
    assert table.rows[old.id].replaced_by == new.id


def test_the_overlap_never_lengthens_a_life() -> None:
    """A key that ends before the overlap ends when it was to end."""
    table = Table()
    keys = Keys(table)
    old = keys.create(background(), Grant(scopes=("read",)), ledger="main", lifetime_s=10).key
    keys.rotate(background(), old.id, overlap_s=60)
    assert table.rows[old.id].expires_at == NOW + timedelta(seconds=10)


def test_a_key_is_rotated_once() -> None:
    """A second time the answer names the one that follows it; a revoked key is followed by none."""
    keys = Keys(Table())
    old = keys.create(background(), Grant(scopes=("read",)), ledger="main").key
    new = keys.rotate(background(), old.id).key
    with pytest.raises(Conflict, match=new.id):
        keys.rotate(background(), old.id)
    keys.revoke(background(), new.id)
    with pytest.raises(Conflict, match="revoked"):
        keys.rotate(background(), new.id)


def test_rotation_gives_no_more_than_its_caller_holds() -> None:
    """Else keys:write could be turned into any key of the ledger."""
    table = Table()
    keys = Keys(table)
    old = keys.create(background(), Grant(scopes=("admin",)), by=ADMIN).key
    maker = replace(ADMIN, scopes=expand(["keys:write"]))
    with pytest.raises(Forbidden):
        keys.rotate(background(), old.id, by=maker)
    assert table.rows[old.id] == old


def test_keys_of_other_ledgers_are_not_found() -> None:
    """But for an operator, and for a command on the host."""
    keys = Keys(Table())
    other = keys.create(background(), Grant(scopes=("read",)), ledger="shop").key
    for call in (keys.find, keys.rotate, keys.revoke):
        with pytest.raises(NotFound, match="ledgerd key list"):
            call(background(), other.id, by=ADMIN)
    assert keys.find(background(), other.id, by=replace(ADMIN, scopes=expand(["operator"]))) == other
    assert keys.find(background(), other.id) == other


def test_revoking_is_final() -> None:
    """A second time changes nothing."""
    table = Table()
    keys = Keys(table)
    made = keys.create(background(), Grant(scopes=("read",)), ledger="main").key
    for _ in range(2):
        keys.revoke(background(), made.id)
        assert table.rows[made.id].revoked_at == NOW


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
