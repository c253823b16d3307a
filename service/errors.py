"""The error taxonomy: a closed set of codes that every part of ledgerd raises and clients can rely on.

Each class is one code. It knows nothing of HTTP: `service/api/problem.py` holds the one table from code to status.
`retryable` says whether the same request may succeed later without being changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one part of the input: `field` is a JSON member (`transfers[2].amount`), a parameter or a header."""

    field: str
    message: str


class LedgerdError(Exception):
    """The root of the taxonomy. `message` is one sentence that a client may see; it must hold no secret."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, fields: tuple[FieldError, ...] = (), retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields
        self.retry_after_s = retry_after_s
        self._copied: LedgerdError | None = None

    @property
    def origin(self) -> LedgerdError:
        """What it is a copy of; itself, if it is none."""
        return self._copied or self

    def again(self) -> Self:
        """A copy to raise. One object that several raise would keep the frames of each, and show them to the others."""
        copy = type(self).__new__(type(self), *self.args)
        copy.__dict__.update(self.__dict__, _copied=self.origin)
        if self.__cause__ is not None:
            copy.__cause__ = self.__cause__
        return copy


class MalformedRequest(LedgerdError):
    """The request cannot be read at all: not HTTP as it should be, or not JSON."""

    code = "malformed_request"


class Unauthenticated(LedgerdError):
    """No API key, or one that is not valid (any more)."""

    code = "unauthenticated"


class Forbidden(LedgerdError):
    """The API key is valid but may not do this: it lacks the scope, or what it may debit or give away is less."""

    code = "forbidden"


class NotFound(LedgerdError):
    """No such thing in this ledger; a thing of another ledger is not found either."""

    code = "not_found"


class MethodNotAllowed(LedgerdError):
    """The path exists, the method does not; `allowed` lists those that do."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class Conflict(LedgerdError):
    """The request contradicts the present state: an email that is taken, a user with open accounts."""

    code = "conflict"


class VersionMismatch(LedgerdError):
    """The version that the client expects is not the present one."""

    code = "version_mismatch"


class PayloadTooLarge(LedgerdError):
    """The body is larger than the route accepts."""

    code = "payload_too_large"


class UnsupportedMediaType(LedgerdError):
    """The body is not declared as what the route takes: JSON, or for imports NDJSON or CSV."""

    code = "unsupported_media_type"


class InvalidInput(LedgerdError):
    """The request is readable but some of its values are not acceptable; `fields` names each."""

    code = "invalid_input"


class InsufficientFunds(LedgerdError):
    """The debit would take the account below its min_balance."""

    code = "insufficient_funds"


class AssetMismatch(LedgerdError):
    """The accounts, or the request and its accounts, differ in asset."""

    code = "asset_mismatch"


class AccountClosed(LedgerdError):
    """A closed account takes part in no transfer."""

    code = "account_closed"


class AccountFrozen(LedgerdError):
    """A frozen account takes part in no transfer until it is opened again."""

    code = "account_frozen"


class SameAccount(LedgerdError):
    """A transfer needs two different accounts."""

    code = "same_account"


class LimitExceeded(LedgerdError):
    """A balance would pass its max_balance or the range of exact integers (2^53-1); a capture would take more than is held.

    Or a ledger would have more of something than it may.
    """

    code = "limit_exceeded"


class NotAHold(LedgerdError):
    """What is to be captured or released is no hold."""

    code = "not_a_hold"


class HoldResolved(LedgerdError):
    """The hold has been captured or released, or has expired."""

    code = "hold_resolved"


class NotReversible(LedgerdError):
    """What is to be reversed is neither a transfer nor a capture."""

    code = "not_reversible"


class AlreadyReversed(LedgerdError):
    """What is to be reversed has been reversed."""

    code = "already_reversed"


class IdempotencyKeyReused(LedgerdError):
    """The idempotency key was used before, for another request."""

    code = "idempotency_key_reused"


class ClientClosedRequest(LedgerdError):
    """The work was cancelled, since nobody waits for it any more."""

    code = "client_closed_request"


class Internal(LedgerdError):
    """A fault of ledgerd itself; the log has it under the request id."""

    code = "internal"


class RateLimited(LedgerdError):
    """The API key, or the address that sends no valid one, has sent more than its rate limit. Nothing was done."""

    code = "rate_limited"
    retryable = True


class Overloaded(LedgerdError):
    """A bounded queue is full. Nothing was done."""

    code = "overloaded"
    retryable = True


class Unavailable(LedgerdError):
    """The database cannot be reached, or the service is stopping. Nothing was done."""

    code = "unavailable"
    retryable = True


class DeadlineExceeded(LedgerdError):
    """The request's time passed before its work began to take effect. Nothing was done."""

    code = "deadline_exceeded"
    retryable = True


class OutcomeUnknown(LedgerdError):
    """The work may or may not have taken effect; the same request with the same idempotency key tells."""

    code = "outcome_unknown"
    retryable = True


class ConfigurationError(Exception):
    """The configuration, or what it points to, cannot work. `problems` has one sentence each, all at once."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def taxonomy() -> dict[str, type[LedgerdError]]:
    """Every code with its class."""
    return {cls.code: cls for cls in LedgerdError.__subclasses__()}
