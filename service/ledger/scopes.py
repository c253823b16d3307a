"""What an API key may do: fine scopes, each one kind of thing read or changed, and bundles of them."""

from __future__ import annotations

from collections.abc import Iterable

_DATA = ("users", "accounts", "transfers", "webhooks", "services")
_READ = frozenset(f"{kind}:read" for kind in _DATA) | {"events:read", "audit:read"}
_WRITE = _READ | {f"{kind}:write" for kind in _DATA}
_KEYS = frozenset({"keys:read", "keys:write"})
_LEDGERS = frozenset({"ledgers:read", "ledgers:write"})

BUNDLES = {
    "read": _READ,
    "write": _WRITE,
    "admin": _WRITE | _KEYS,
    "operator": _LEDGERS | _KEYS,  # of every ledger; it shows nothing of what they hold
}
FINE = tuple(sorted(_WRITE | _KEYS))
GRANTABLE = (*BUNDLES, *FINE)  # what a key may be given; `ledgers:…` comes with `operator` alone


def expand(scopes: Iterable[str]) -> frozenset[str]:
    """The fine scopes in `scopes`, which may name bundles."""
    return frozenset().union(*(BUNDLES.get(scope, (scope,)) for scope in scopes))
