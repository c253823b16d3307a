"""API keys: `ldg_<id>_<secret>`, each of one ledger, with scopes. Only the SHA-256 of a secret is kept.

A key is looked up once a second at most and kept in between, so a revoked key stops working within KEPT_S seconds on every
worker. While it is looked up, all others who need it wait for that one answer: where the database takes its time, a lookup for
each request would take every connection. The comparison takes the same time wherever the secret differs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from service.concurrency.context import Context, background, with_cancel
from service.concurrency.primitives import Lock, Parking, monotonic
from service.errors import LedgerdError, NotFound, Unauthenticated
from service.ledger.scopes import expand

KEPT_S = 1.0
MOST_KEPT = 4096
_TOKEN = re.compile(r"ldg_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored. `secret_hash` is 32 bytes."""

    ledger_id: int
    ledger: str
    id: str
    name: str
    secret_hash: bytes
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request: the key, its ledger and what it may do, in fine scopes."""

    ledger_id: int
    key_id: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Whether `scope`, a fine one, is granted."""
        return scope in self.scopes


class KeyStore(Protocol):
    """What the repository does for keys."""

    def find_keys(self, ctx: Context, key_id: str) -> Sequence[ApiKey]: ...
    def list_keys(self, ctx: Context) -> Sequence[ApiKey]: ...
    def create_key(
        self, ctx: Context, *, ledger: str, key_id: str, name: str, secret_hash: bytes, scopes: Sequence[str]
    ) -> bool: ...
    def revoke_key(self, ctx: Context, key_id: str) -> bool: ...


class Keys:
    """Makes, checks and revokes API keys. `on_lookup` is told of each look at what is kept: True where it was found there."""

    def __init__(
        self,
        store: KeyStore,
        clock: Callable[[], float] = monotonic,
        on_lookup: Callable[[bool], None] = lambda _was_hit: None,
    ) -> None:
        self._store = store
        self._on_lookup = on_lookup
        self._clock = clock
        self._lock = Lock()
        self._kept: OrderedDict[str, tuple[float, Sequence[ApiKey]]] = OrderedDict()
        self._lookups: dict[str, _Lookup] = {}

    def authenticate(self, ctx: Context, token: str) -> Principal:
        """Who holds `token`. Raises Unauthenticated, the same for every reason that a caller could probe."""
        match = _TOKEN.fullmatch(token)
        if match is None:
            raise Unauthenticated("The API key is malformed: expected ldg_<id>_<secret>.")
        key_id, secret = match.groups()
        secret_hash = hashlib.sha256(secret.encode()).digest()
        for key in self._find(ctx, key_id):
            if hmac.compare_digest(key.secret_hash, secret_hash) and key.revoked_at is None:
                return Principal(key.ledger_id, key.id, expand(key.scopes))
        raise Unauthenticated("The API key is not valid: unknown, or revoked.")

    def create(self, ctx: Context, *, ledger: str, scopes: Sequence[str], name: str = "") -> tuple[str, bool]:
        """Make a key; returns its token, which is not stored, and whether the ledger was made along with it."""
        key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
        made = self._store.create_key(
            ctx, ledger=ledger, key_id=key_id, name=name, scopes=scopes, secret_hash=hashlib.sha256(secret.encode()).digest()
        )
        return f"ldg_{key_id}_{secret}", made

    def list(self, ctx: Context) -> Sequence[ApiKey]:
        """Every key, of every ledger."""
        return self._store.list_keys(ctx)

    def revoke(self, ctx: Context, key_id: str) -> None:
        """Make a key invalid for ever. Raises NotFound."""
        if not self._store.revoke_key(ctx, key_id):
            raise NotFound(f"No API key {key_id!r}; `ledgerd key list` shows them.")

    def _find(self, ctx: Context, key_id: str) -> Sequence[ApiKey]:
        while True:
            now = self._clock()
            kept = self._kept.get(key_id)
            if kept is not None and now - kept[0] < KEPT_S:
                self._on_lookup(True)
                return kept[1]
            with self._lock:
                under_way = self._lookups.get(key_id)
                if under_way is None:
                    mine = self._lookups[key_id] = _Lookup()
            if under_way is None:
                self._on_lookup(False)
                return self._look_up(ctx, key_id, mine, now)
            if (found := under_way.wait(ctx)) is not None:
                return found

    def _look_up(self, ctx: Context, key_id: str, lookup: _Lookup, now: float) -> Sequence[ApiKey]:
        try:
            found = lookup.found = self._store.find_keys(ctx, key_id)
            if found:  # an unknown id is not kept: whoever guesses must not push out those who know
                self._keep(key_id, now, found)
        except LedgerdError as error:
            if ctx.error() is None:  # else only this caller's time is up: the next one looks
                lookup.error = error
            raise
        finally:
            with self._lock:
                del self._lookups[key_id]
            lookup.ended.cancel()
        return found

    def _keep(self, key_id: str, now: float, found: Sequence[ApiKey]) -> None:
        with self._lock:
            self._kept[key_id] = (now, found)
            self._kept.move_to_end(key_id)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)


class _Lookup:
    """A lookup under way, which several may wait for."""

    def __init__(self) -> None:
        self.ended = with_cancel(background())
        self.found: Sequence[ApiKey] | None = None
        self.error: LedgerdError | None = None

    def wait(self, ctx: Context) -> Sequence[ApiKey] | None:
        """What was found, None if the one who looked gave up. Raises its error otherwise, or that of `ctx`."""
        parking = Parking()
        forget = self.ended.on_done(parking.wake)
        try:
            ctx.park(parking)
        finally:
            forget()
        ctx.check()
        if self.error is not None:
            raise self.error.again()
        return self.found
