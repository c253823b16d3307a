"""What PostgreSQL's errors mean in the taxonomy: by SQLSTATE and constraint name, said once."""

from __future__ import annotations

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from service.errors import Conflict, DeadlineExceeded, FieldError, Internal, LedgerdError, NotFound, Unavailable

_CONSTRAINTS: dict[str, tuple[type[LedgerdError], str, str]] = {
    "users_email_key": (Conflict, "email", "Another user of this ledger has this email."),
    "ledgers_name_key": (Conflict, "name", "Another ledger has this name."),
    "accounts_user_fkey": (NotFound, "user_id", "No such user in this ledger."),
    "accounts_floor": (Conflict, "min_balance", "The available balance is below this min_balance."),
    "accounts_ceiling": (Conflict, "max_balance", "The balance is above this max_balance."),
    "accounts_closed_is_empty": (Conflict, "status", "Only an account with balance 0 and nothing held can be closed."),
}


def translate(error: psycopg.Error) -> LedgerdError:
    """The error of the taxonomy for `error`. Nothing of PostgreSQL's own message is in it."""
    if isinstance(error, (PoolTimeout, TooManyRequests, PoolClosed)):
        return Unavailable("No database connection became free in time.", retry_after_s=1)
    if isinstance(error, pg.QueryCanceled):
        return DeadlineExceeded("The database did not finish in time; nothing was changed.")
    if isinstance(error, (pg.DeadlockDetected, pg.SerializationFailure, pg.LockNotAvailable)):
        return Unavailable("The database is busy with conflicting work.", retry_after_s=1)
    if isinstance(error, pg.IntegrityError) and (known := _CONSTRAINTS.get(error.diag.constraint_name or "")):
        kind, field, message = known
        return kind(message, fields=(FieldError(field, message),))
    if isinstance(error, psycopg.OperationalError):
        return Unavailable("The database cannot be reached.", retry_after_s=1)
    return Internal("The database refused a statement.")
