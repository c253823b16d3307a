"""Users: who an account may belong to. They are read through a cache, and a change is kept there behind the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from service.concurrency.context import Context
from service.errors import NotFound
from service.ledger.position import Written
from service.ledger.user import User, UserStore
from service.ledger.user_cache import FoundUser, UserCache

T = TypeVar("T")


class Users:
    """The users of all ledgers; every call names the ledger it is about."""

    def __init__(self, store: UserStore, cache: UserCache) -> None:
        self._store = store
        self._cache = cache

    def find(self, ctx: Context, ledger_id: int, user_id: int, *, anew: bool = False) -> FoundUser:
        """The user, as at most a second ago (see `user_cache`); `anew`: as the database has it now. Raises NotFound."""
        return self._found(self._cache.find(ctx, (ledger_id, user_id), anew=anew), user_id)

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
        key, written = (ledger_id, user_id), None
        begun = self._cache.begin(key)
        try:
            written = self._store.update_user(
                ctx, ledger_id, user_id, name=name, email=email, metadata=metadata, if_version=if_version
            )
        finally:
            self._cache.changed(key, written, begun)
        return self._found(written, user_id)

    def delete(self, ctx: Context, ledger_id: int, user_id: int, *, if_version: int | None = None) -> int:
        """Remove a user who has no account that is not closed; the position. Raises NotFound, Conflict, VersionMismatch."""
        try:
            return self._found(self._store.delete_user(ctx, ledger_id, user_id, if_version=if_version), user_id)
        finally:
            self._cache.drop((ledger_id, user_id))

    @staticmethod
    def _found(found: T | None, user_id: int) -> T:
        if found is None:
            raise NotFound(f"No user {user_id} in this ledger.")
        return found
