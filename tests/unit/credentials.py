"""A CredentialStore in a dictionary, and a clock that is turned by hand."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any

from service.concurrency.context import Context
from service.ledger.authenticator import Credential

UNKNOWN = Credential(0, "", bytes(32), ["read"], None, None, None, False, None, None)


class Clock:
    """In seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Credentials:
    """The keys that there are; counts how often it is asked."""

    def __init__(self) -> None:
        self.rows: dict[str, Credential] = {}
        self.asked = 0

    def find_credentials(self, ctx: Context, key_id: str) -> Sequence[Credential]:
        """As the repository: a row for an unknown id too."""
        self.asked += 1
        return [self.rows.get(key_id, UNKNOWN)]

    def add(self, **fields: Any) -> str:
        """A key with these fields; returns its token."""
        key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
        values: dict[str, Any] = {
            "ledger_id": 7, "scopes": ["read"], "debit_accounts": None, "expires_at": None, "expires_in_s": None,
            "revoked": False, "rate_per_s": None, "burst": None, **fields,
        }
        self.rows[key_id] = Credential(key_id=key_id, secret_hash=hashlib.sha256(secret.encode()).digest(), **values)
        return f"ldg_{key_id}_{secret}"
