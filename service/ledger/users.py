"""Users: who an account may belong to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from service.concurrency.context import Context
from service.errors import NotFound
from service.ledger.position import Written

T = TypeVar("T")


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


class Users:
    """The users of all ledgers; every call names the ledger it is about."""

    def __init__(self, store: UserStore) -> None:
        self._store = store

    def find(self, ctx: Context, ledger_id: int, user_id: int) -> User:
        """The user. Raises NotFound."""
        return self._found(self._store.find_user(ctx, ledger_id, user_id), user_id)

    def list(
        self, ctx: Context, ledger_id: int, *, after_id: int = 0, limit: int = 50, email: str | None = None
    ) -> Sequence[User]:
        """Up to `limit` users with ids above `after_id`, in id order; with `email`, the one who has it."""
        return self._store.list_users(ctx, ledger_id, after_id=after_id, limit=limit, email=email)

    def create(self, ctx: Context, ledger_id: int, *, name: str, email: str, metadata: Mapping[str, Any]) -> Written[User]:
        """Make a user. Raises Conflict when the email is taken (ASCII letters count as equal in upper and lower case)."""
        return self._store.create_user(ctx, ledger_id, name=name, email=email, metadata=metadata)

    def update(
        self, ctx: Context, ledger_id: int, user_id: int, *,
        name: str, email: str, metadata: Mapping[str, Any], if_version: int | None = None,
    ) -> Written[User]:
        """Replace a user's fields. Raises NotFound, Conflict, or VersionMismatch when it is not at `if_version`."""
        user = self._store.update_user(
            ctx, ledger_id, user_id, name=name, email=email, metadata=metadata, if_version=if_version
        )
        return self._found(user, user_id)

    def delete(self, ctx: Context, ledger_id: int, user_id: int, *, if_version: int | None = None) -> int:
        """Remove a user who has no account that is not closed; the position. Raises NotFound, Conflict, VersionMismatch."""
        return self._found(self._store.delete_user(ctx, ledger_id, user_id, if_version=if_version), user_id)

    @staticmethod
    def _found(found: T | None, user_id: int) -> T:
        if found is None:
            raise NotFound(f"No user {user_id} in this ledger.")
        return found
