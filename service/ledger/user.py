"""A user, and what the repository does for users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from service.concurrency.context import Context
from service.ledger.position import Written


@dataclass(frozen=True, slots=True)
class User:
    """A user as it is stored. `version` counts changes, from 1."""

    id: int
    name: str
    email: str
    metadata: Mapping[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


class UserStore(Protocol):
    """What the repository does for users."""

    def find_user(self, ctx: Context, ledger_id: int, user_id: int) -> User | None: ...
    def list_users(self, ctx: Context, ledger_id: int, *, after_id: int, limit: int, email: str | None) -> Sequence[User]: ...
    def create_user(
        self, ctx: Context, ledger_id: int, *, name: str, email: str, metadata: Mapping[str, Any]
    ) -> Written[User]: ...
    def update_user(
        self, ctx: Context, ledger_id: int, user_id: int, *,
        name: str, email: str, metadata: Mapping[str, Any], if_version: int | None,
    ) -> Written[User] | None: ...
    def delete_user(self, ctx: Context, ledger_id: int, user_id: int, *, if_version: int | None) -> int | None: ...
