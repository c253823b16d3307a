"""Checks API keys: who holds a token, and whether it is valid now.

**A key stops within a second**, since nothing is kept longer than `kept` says: a key that changes is dropped at once. The end
of a key is reckoned by the database's clock: the lookup says how many seconds are left, and they are counted on the monotonic
one.

**All refusals are one.** Whether a token is malformed, of an unknown id, or of a wrong secret, or its key has expired or was
revoked: the answer is the same, and so is the work, which is one lookup and one comparison in constant time. Nothing is ever
refused from what is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import inf
from typing import Protocol

from service.concurrency.context import Context
from service.concurrency.primitives import monotonic
from service.errors import Unauthenticated
from service.ledger.kept import Kept
from service.ledger.key_uses import KeyUses
from service.ledger.lookups import Lookups
from service.ledger.principal import Principal
from service.ledger.scopes import expand

MOST_KEPT = 4096
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


_Holder = tuple[Principal | None, float]  # and when the key ends, on the worker's monotonic clock
_NOBODY: _Holder = None, 0.0


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
        self._on_lookup = on_lookup
        self._clock = clock
        # A key's holder is found by the hash of the secret: no comparison that takes its time.
        self._kept: Kept[str, dict[bytes, _Holder]] = Kept(most=MOST_KEPT, proved_within=proved_within, clock=clock)
        self._lookups = Lookups(self._find_credentials, self._kept.begin)
        self._store = store
        self.uses = KeyUses(clock)
        self.drop = self._kept.drop
        self.drop_all = self._kept.drop_all

    def authenticate(self, ctx: Context, token: str) -> Principal:
        """Who holds `token`. Raises Unauthenticated, the same for every reason."""
        principal = self.find_kept(token)
        if principal is None:
            self._on_lookup(False)
            principal = self._look_up(ctx, *_parse(token))
            self.uses.note(principal, self._clock())
        return principal

    def find_kept(self, token: str) -> Principal | None:
        """Who holds `token`, if that is kept."""
        key_id, secret_hash = _parse(token)
        now = self._clock()
        principal, ends_at = (self._kept.find(key_id) or {}).get(secret_hash, _NOBODY)
        if principal is None or now >= ends_at:
            return None
        self._on_lookup(True)
        self.uses.note(principal, now)
        return principal

    def _look_up(self, ctx: Context, key_id: str, secret_hash: bytes) -> Principal:
        lookup = self._lookups.find(ctx, key_id)
        for credential in lookup.found:
            if hmac.compare_digest(credential.secret_hash, secret_hash) and credential.is_valid:
                principal = credential.principal()
                ends_at = inf if credential.expires_in_s is None else lookup.begun.as_of + credential.expires_in_s
                self._kept.keep(key_id, {secret_hash: (principal, ends_at)}, lookup.begun)
                return principal
        raise Unauthenticated(
            "The API key is not valid: malformed, unknown, expired or revoked. Send one as `Authorization: Bearer ldg_…`;"
            " `ledgerd key create` makes one."
        )

    def _find_credentials(self, ctx: Context, key_id: str) -> Sequence[Credential]:
        return self._store.find_credentials(ctx, key_id)


@lru_cache(MOST_KEPT)  # a client sends the same one again and again, and the worker has it in the head of each request
def _parse(token: str) -> tuple[str, bytes]:
    """The id of its key, and the hash of its secret."""
    match = _TOKEN.fullmatch(token)
    key_id, secret = _NO_TOKEN if match is None else match.groups()
    return key_id, hashlib.sha256(secret.encode()).digest()
