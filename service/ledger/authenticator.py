"""Checks API keys: who holds a token, and whether it is valid now.

**A key stops within a second.** What was looked up is used for FRESH_S seconds, and longer only while notifications of changes
are proved to arrive (`proved_within`, see repository/listener.py): a key that changes is dropped at once, and when the proof
ends, so does the use. FRESH_S is below a second, so that the second holds for whoever measures it from outside. The end of a
key is reckoned by the database's clock: the lookup says how many seconds are left, and they are counted on the monotonic one.

**All refusals are one.** Whether a token is malformed, of an unknown id, or of a wrong secret, or its key has expired or was
revoked: the answer is the same, and so is the work, which is one lookup and one comparison in constant time. Nothing is ever
refused from what is kept.

**One lookup serves all who wait for it.** Where the database takes its time, a lookup for each request would take every
connection.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Protocol

from service.concurrency.context import Context, background, with_cancel
from service.concurrency.primitives import Lock, Parking, monotonic
from service.errors import LedgerdError, Unauthenticated
from service.ledger.key_cache import Kept, KeyCache
from service.ledger.key_uses import KeyUses
from service.ledger.principal import Principal
from service.ledger.scopes import expand

FRESH_S = 0.9
_TOKEN = re.compile(r"ldg_([0-9a-f]{12})_([0-9a-f]{64})")
_NO_TOKEN = ("0" * 12, "0" * 64)  # is looked up in place of a token that is none


@dataclass(frozen=True, slots=True)
class Credential:
    """What a lookup finds of a key. `secret_hash` is 32 bytes; `expires_in_s` is by the database's clock, None without end."""

    ledger_id: int
    key_id: str
    secret_hash: bytes
    scopes: Sequence[str]
    debit_accounts: Sequence[int] | None
    expires_at: datetime | None
    expires_in_s: float | None
    revoked: bool
    rate_per_s: int | None
    burst: int | None

    @property
    def is_valid(self) -> bool:
        """Whether it was neither revoked nor expired when it was found."""
        return not self.revoked and (self.expires_in_s is None or self.expires_in_s > 0)

    def principal(self) -> Principal:
        """Who holds it."""
        debit = None if self.debit_accounts is None else frozenset(self.debit_accounts)
        return Principal(
            self.ledger_id, self.key_id, expand(self.scopes), debit, self.expires_at, self.rate_per_s, self.burst
        )


class CredentialStore(Protocol):
    """What the repository does to check keys: a lookup gives a row, with a hash that no secret has, for an unknown id too."""

    def find_credentials(self, ctx: Context, key_id: str) -> Sequence[Credential]: ...


class Authenticator:
    """See the module. `on_lookup` is told of each token whether its key was kept (True) or had to be looked up."""

    def __init__(
        self,
        store: CredentialStore,
        *,
        proved_within: Callable[[float], bool] = lambda _seconds: False,
        on_lookup: Callable[[bool], None] = lambda _hit: None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._proved_within = proved_within
        self._on_lookup = on_lookup
        self._clock = clock
        self._cache = KeyCache()
        self._lock = Lock()
        self._lookups: dict[str, _Lookup] = {}
        self.uses = KeyUses(clock)
        self.drop = self._cache.drop
        self.drop_all = self._cache.drop_all

    def authenticate(self, ctx: Context, token: str) -> Principal:
        """Who holds `token`. Raises Unauthenticated, the same for every reason."""
        match = _TOKEN.fullmatch(token)
        key_id, secret = _NO_TOKEN if match is None else match.groups()
        secret_hash = hashlib.sha256(secret.encode()).digest()
        now = self._clock()
        kept = self._cache.find(key_id, secret_hash)
        if kept is not None and now < kept.ends_at and (now - kept.as_of < FRESH_S or self._proved_within(FRESH_S)):
            self._on_lookup(True)
            principal = kept.principal
        else:
            self._on_lookup(False)
            principal = self._look_up(ctx, key_id, secret_hash)
        self.uses.note(principal, now)
        return principal

    def _look_up(self, ctx: Context, key_id: str, secret_hash: bytes) -> Principal:
        lookup = self._find(ctx, key_id)
        for credential in lookup.found or ():
            if hmac.compare_digest(credential.secret_hash, secret_hash) and credential.is_valid:
                ends_at = inf if credential.expires_in_s is None else lookup.as_of + credential.expires_in_s
                kept = Kept(credential.principal(), secret_hash, lookup.as_of, ends_at)
                self._cache.keep(kept, lookup.drops)
                return kept.principal
        raise Unauthenticated(
            "The API key is not valid: malformed, unknown, expired or revoked. Send one as `Authorization: Bearer ldg_…`;"
            " `ledgerd key create` makes one."
        )

    def _find(self, ctx: Context, key_id: str) -> _Lookup:
        """A lookup that has ended and began less than FRESH_S ago: another's that is under way, or one of our own."""
        while True:
            now = self._clock()
            with self._lock:
                under_way = self._lookups.get(key_id)
                if under_way is None or now - under_way.as_of >= FRESH_S:
                    mine = self._lookups[key_id] = _Lookup(now, self._cache.drops)
                    break
            if under_way.wait(ctx):
                return under_way
        try:
            mine.found = self._store.find_credentials(ctx, key_id)
        except LedgerdError as error:
            if ctx.error() is None:  # else only this caller's time is up: the next one looks
                mine.error = error
            raise
        finally:
            with self._lock:
                if self._lookups.get(key_id) is mine:
                    del self._lookups[key_id]
            mine.ended.cancel()
        return mine


class _Lookup:
    """A lookup that began `as_of`, which several may wait for."""

    def __init__(self, as_of: float, drops: int) -> None:
        self.as_of = as_of
        self.drops = drops
        self.ended = with_cancel(background())
        self.found: Sequence[Credential] | None = None
        self.error: LedgerdError | None = None

    def wait(self, ctx: Context) -> bool:
        """Whether it has found something; not if the one who looked gave up. Raises its error, or that of `ctx`."""
        parking = Parking()
        forget = self.ended.on_done(parking.wake)
        try:
            ctx.park(parking)
        finally:
            forget()
        ctx.check()
        if self.error is not None:
            raise self.error.again()
        return self.found is not None
