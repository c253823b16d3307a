"""API keys: `ldg_<id>_<secret>`, each of one ledger. They are made, followed by others, and revoked here.

Only the SHA-256 of a secret is kept: the token is shown once, to whoever makes the key. `authenticator` checks keys.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from service.concurrency.context import Context
from service.errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound
from service.ledger.grants import Defaults, Grant, check_grant
from service.ledger.principal import Principal

DEFAULT_OVERLAP_S = 24 * 3600
LONGEST_OVERLAP_S = 30 * 24 * 3600
LONGEST_LIFE_S = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored, without its secret. `number` rises in the order of making."""

    ledger_id: int
    ledger: str
    id: str
    number: int
    name: str
    scopes: Sequence[str]
    debit_accounts: Sequence[int] | None
    rate_per_s: int | None
    burst: int | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is what its holder sends; only the rest of it is stored."""

    key_id: str
    secret_hash: bytes
    text: str

    @classmethod
    def new(cls) -> Token:
        """A random one: 48 bits of id, 256 bits of secret."""
        key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
        return cls(key_id, hashlib.sha256(secret.encode()).digest(), f"ldg_{key_id}_{secret}")


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made, its token, which nobody can show again, and whether its ledger was made along with it."""

    key: ApiKey
    token: str
    made_ledger: bool = False


class KeyStore(Protocol):
    """What the repository does for keys. A ledger is named by its id or by its name; a `ledger_id` of None is any ledger."""

    def find_time(self, ctx: Context) -> datetime: ...
    def find_key(self, ctx: Context, key_id: str, ledger_id: int | None) -> ApiKey | None: ...
    def list_keys(self, ctx: Context, ledger: int | str, *, after: int, limit: int) -> Sequence[ApiKey]: ...
    def list_all_keys(self, ctx: Context, ledger: str | None) -> Sequence[ApiKey]: ...
    def create_key(
        self, ctx: Context, ledger: int | str, token: Token, grant: Grant, *, make_ledger: bool
    ) -> tuple[ApiKey, bool]: ...
    def replace_key(self, ctx: Context, old: ApiKey, token: Token, grant: Grant, overlap_s: int) -> ApiKey | None: ...
    def revoke_key(self, ctx: Context, key_id: str, ledger_id: int | None) -> bool: ...


class Keys:
    """Makes, shows, rotates and revokes API keys.

    `by` is who asks for it: a key sees those of its own ledger, an operator those of any. None is a command on the host, which
    may do everything.
    """

    def __init__(self, store: KeyStore, defaults: Defaults = Defaults()) -> None:  # noqa: B008  # a frozen value
        self._store = store
        self._defaults = defaults

    def create(
        self, ctx: Context, grant: Grant, *,
        by: Principal | None = None, ledger: str | None = None, lifetime_s: int | None = None,
    ) -> NewKey:
        """Make a key, of the ledger called `ledger`, or of that of `by`; with `lifetime_s` it ends so much later.

        A command may name a ledger that does not exist: it is made.

        Raises Forbidden where `by` gives more than it holds, or names a ledger and is no operator; NotFound for an unknown
        ledger or account; InvalidInput for an expiry in the past.
        """
        if by is not None and not by.operates and ledger is not None:
            problem = FieldError("ledger", "only an operator may name one")
            raise Forbidden("This key makes keys of its own ledger alone.", fields=(problem,))
        grant = self._with_expiry(ctx, grant, lifetime_s)
        if by is not None:
            check_grant(by, grant, self._defaults)
        where = ledger if ledger is not None or by is None else by.ledger_id
        assert where is not None, "a command names the ledger"
        token = Token.new()
        key, made = self._store.create_key(ctx, where, token, grant, make_ledger=by is None)
        return NewKey(key, token.text, made)

    def find(self, ctx: Context, key_id: str, *, by: Principal | None = None) -> ApiKey:
        """The key. Raises NotFound."""
        key = self._store.find_key(ctx, key_id, _sight(by))
        if key is None:
            raise _not_found(key_id)
        return key

    def list(self, ctx: Context, ledger: int | str, *, after: int = 0, limit: int = 50) -> Sequence[ApiKey]:
        """Up to `limit` keys of a ledger with numbers above `after`. Raises NotFound for an unknown name."""
        return self._store.list_keys(ctx, ledger, after=after, limit=limit)

    def list_all(self, ctx: Context, ledger: str | None = None) -> Sequence[ApiKey]:
        """Every key, for a command: of every ledger, or of that of this name. Raises NotFound when there is none."""
        return self._store.list_all_keys(ctx, ledger)

    def rotate(
        self, ctx: Context, key_id: str, *, by: Principal | None = None, overlap_s: int = DEFAULT_OVERLAP_S
    ) -> NewKey:
        """Make a key that is given the same, and lets the old one end after `overlap_s`: both are valid until then.

        A key that ends lives as long again as it was made for. Raises NotFound; Conflict when the key has ended or was rotated
        before; Forbidden where the new key would be given more than `by` holds.
        """
        old = self.find(ctx, key_id, by=by)
        if old.replaced_by is not None:
            raise Conflict(f"The key was rotated before: rotate {old.replaced_by}, which follows it.")
        lifetime = None if old.expires_at is None else _whole_seconds(old.expires_at - old.created_at)
        grant = Grant(
            scopes=tuple(old.scopes), name=old.name, rate_per_s=old.rate_per_s, burst=old.burst,
            expires_at=None if lifetime is None else self._store.find_time(ctx) + lifetime,
            debit_accounts=None if old.debit_accounts is None else tuple(old.debit_accounts),
        )
        if by is not None:
            check_grant(by, grant, self._defaults)
        token = Token.new()
        key = self._store.replace_key(ctx, old, token, grant, overlap_s)
        if key is None:
            raise Conflict("The key is revoked, has expired, or was rotated a moment ago: make a new one instead.")
        return NewKey(key, token.text)

    def revoke(self, ctx: Context, key_id: str, *, by: Principal | None = None) -> None:
        """Make a key invalid for ever; a second time changes nothing. Raises NotFound."""
        if not self._store.revoke_key(ctx, key_id, _sight(by)):
            raise _not_found(key_id)

    def _with_expiry(self, ctx: Context, grant: Grant, lifetime_s: int | None) -> Grant:
        """The grant with a moment at which the key ends, by the database's clock."""
        if lifetime_s is None and grant.expires_at is None:
            return grant
        now = self._store.find_time(ctx)
        ends = grant.expires_at if lifetime_s is None else now + timedelta(seconds=lifetime_s)
        assert ends is not None, "one of the two is given"
        if not now < ends <= now + timedelta(seconds=LONGEST_LIFE_S):
            message = "expected a moment from now on and within ten years"
            raise InvalidInput(f"expires_at: {message}.", fields=(FieldError("expires_at", message),))
        return replace(grant, expires_at=ends)


def _sight(by: Principal | None) -> int | None:
    """The one ledger whose keys `by` sees, or None for all."""
    return None if by is None or by.operates else by.ledger_id


def _whole_seconds(time: timedelta) -> timedelta:
    """`time` as it was asked for: a key is stored a moment after its end was reckoned."""
    return timedelta(seconds=round(time.total_seconds()))


def _not_found(key_id: str) -> NotFound:
    return NotFound(f"No API key {key_id!r}; `ledgerd key list` shows them.")
