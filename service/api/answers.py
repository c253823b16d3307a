"""What the answers look like, as marshmallow schemas: for the OpenAPI document, and for tests that hold answers to it.

The answers themselves are made by hand in `representation`: a schema would cost more than the rest of the request.
"""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, fields

from service.api.fields import (
    Address,
    Asset,
    Choice,
    Described,
    Email,
    LedgerName,
    Metadata,
    Several,
    Text,
    Time,
    Whole,
    whole,
)
from service.api.parameters import CURSOR
from service.api.problem import CLIENT_CLOSED_REQUEST, STATUS, describe
from service.errors import NotFound
from service.events.registry import INSTANCE_ID, LONGEST_LEASE_S, SERVICE_NAME
from service.ledger.grants import GREATEST_KEY_BURST, MOST_DEBIT_ACCOUNTS
from service.ledger.money import GREATEST_AMOUNT, GREATEST_ID
from service.ledger.scopes import GRANTABLE
from service.limits.bucket import MOST_RATE_PER_S

KINDS = ("transfer", "hold", "capture", "release", "expiry", "reversal")
STATUSES = ("posted", "reversed", "open", "captured", "released", "expired")
CODES = [code for code, status in STATUS.items() if status != CLIENT_CLOSED_REQUEST]


class AnswerSchema(Schema):
    """What is answered may gain members; a reader passes over those that it does not know."""

    class Meta:
        unknown = EXCLUDE


class FieldProblem(AnswerSchema):
    """What is wrong with one part of the request."""

    field = Described[str]({"type": "string"}, required=True, meaning="a JSON member, a parameter or a header")
    message = Described[str]({"type": "string"}, required=True)

    example: ClassVar[dict[str, Any]] = {"field": "amount", "message": "expected a whole number from 1 to 9007199254740991"}


class UserAnswer(AnswerSchema):
    """A user."""

    id = Whole(1, GREATEST_ID, required=True)
    name = Text(1, 200, required=True)
    email = Email(required=True)
    metadata = Metadata(required=True)
    version = Whole(1, required=True, meaning="counts the changes; `ETag` has it as well")
    created_at = Time(required=True)
    updated_at = Time(required=True)

    example: ClassVar[dict[str, Any]] = {
        "id": 1, "name": "Ada", "email": "ada@example.com", "metadata": {"tier": "gold"}, "version": 1,
        "created_at": "2026-01-31T09:30:00.000000Z", "updated_at": "2026-01-31T09:30:00.000000Z",
    }


class AccountAnswer(AnswerSchema):
    """An account; balances in minor units."""

    id = Whole(1, GREATEST_ID, required=True)
    user_id = Whole(1, GREATEST_ID, required=True, allow_none=True, meaning="the owner, or none")
    asset = Asset(required=True)
    balance = Whole(-GREATEST_AMOUNT, required=True, meaning="credits less debits")
    held = Whole(0, required=True, meaning="the part of the balance that is set aside")
    available = Whole(-2 * GREATEST_AMOUNT, required=True, meaning="`balance - held`: what a debit can draw on")
    min_balance = Whole(-GREATEST_AMOUNT, required=True, allow_none=True, meaning="the floor of `available`; null is none")
    max_balance = Whole(-GREATEST_AMOUNT, required=True, allow_none=True, meaning="the ceiling of `balance`; null is none")
    status = Choice("open", "frozen", "closed", required=True)
    version = Whole(0, required=True, meaning="counts the account's transfers, without a gap")
    metadata = Metadata(required=True)
    created_at = Time(required=True)
    updated_at = Time(required=True)

    example: ClassVar[dict[str, Any]] = {
        "id": 2, "user_id": 1, "asset": "USD/2", "balance": 1250, "held": 0, "available": 1250, "min_balance": 0,
        "max_balance": 100_000, "status": "open", "version": 1, "metadata": {},
        "created_at": "2026-01-31T09:30:10.000000Z", "updated_at": "2026-01-31T09:30:30.000000Z",
    }


class BalanceAnswer(AnswerSchema):
    """An account's balance and what of it is held, in minor units: now, or at the time `at`."""

    account_id = Whole(1, GREATEST_ID, required=True)
    asset = Asset(required=True)
    balance = Whole(-GREATEST_AMOUNT, required=True)
    held = Whole(0, required=True)
    available = Whole(-2 * GREATEST_AMOUNT, required=True)
    version = Whole(0, required=True, meaning="how many transfers that includes")
    updated_at = Time()
    at = Time()

    example: ClassVar[dict[str, Any]] = {
        "account_id": 2, "asset": "USD/2", "balance": 1250, "held": 0, "available": 1250, "version": 1,
        "updated_at": "2026-01-31T09:30:30.000000Z",
    }
    json_schema: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": ["updated_at"]}, {"required": ["at"]}],
    }


class EntryAnswer(AnswerSchema):
    """A line of a statement; `balance` and `held` are the account's right after it."""

    version = Whole(1, required=True, meaning="the number of the line, without a gap")
    transfer_id = Whole(1, GREATEST_ID, required=True)
    kind = Choice(*KINDS, required=True, meaning="a `hold`, `release` or `expiry` leaves the balance as it was")
    direction = Choice("debit", "credit", required=True)
    amount = Whole(1, required=True)
    balance = Whole(-GREATEST_AMOUNT, required=True)
    held = Whole(0, required=True)
    other_account_id = Whole(1, GREATEST_ID, required=True)
    asset = Asset(required=True)
    reference = Text(1, 255, required=True, allow_none=True)
    metadata = Metadata(required=True)
    created_at = Time(required=True)

    example: ClassVar[dict[str, Any]] = {
        "version": 1, "transfer_id": 1, "kind": "transfer", "direction": "credit", "amount": 1250, "balance": 1250, "held": 0,
        "other_account_id": 1, "asset": "USD/2", "reference": "order 1001", "metadata": {},
        "created_at": "2026-01-31T09:30:30.000000Z",
    }


class TransferAnswer(AnswerSchema):
    """A row of the log; amount and balances in minor units."""

    id = Whole(1, GREATEST_ID, required=True)
    kind = Choice(*KINDS, required=True)
    status = Choice(*STATUSES, required=True, meaning="what became of it until now")
    from_account_id = Whole(1, GREATEST_ID, required=True, meaning="the account debited")
    to_account_id = Whole(1, GREATEST_ID, required=True, meaning="the account credited")
    amount = Whole(1, required=True)
    asset = Asset(required=True)
    reference = Text(1, 255, required=True, allow_none=True)
    metadata = Metadata(required=True)
    from_version = Whole(1, required=True, meaning="the debited account's version right after the transfer")
    to_version = Whole(1, required=True, meaning="the credited account's version right after the transfer")
    from_balance = Whole(-GREATEST_AMOUNT, required=True, meaning="the debited account's balance right after the transfer")
    to_balance = Whole(-GREATEST_AMOUNT, required=True, meaning="the credited account's balance right after the transfer")
    from_held = Whole(0, required=True, meaning="what was held of the debited account right after the transfer")
    created_at = Time(required=True)
    expires_at = Time(required=True, allow_none=True, meaning="of a hold: when it is given back; null is never")
    resolves_id = Whole(1, GREATEST_ID, required=True, allow_none=True, meaning="what it captures, releases or reverses")
    resolved_by_id = Whole(1, GREATEST_ID, required=True, allow_none=True, meaning="what captured, released or reversed it")
    linked_id = Whole(1, GREATEST_ID, required=True, allow_none=True, meaning="the first of those posted together")

    example: ClassVar[dict[str, Any]] = {
        "id": 1, "kind": "transfer", "status": "posted", "from_account_id": 1, "to_account_id": 2, "amount": 1250,
        "asset": "USD/2", "reference": "order 1001", "metadata": {}, "from_version": 1, "to_version": 1,
        "from_balance": -1250, "to_balance": 1250, "from_held": 0, "created_at": "2026-01-31T09:30:30.000000Z",
        "expires_at": None, "resolves_id": None, "resolved_by_id": None, "linked_id": None,
    }


class LedgerAnswer(AnswerSchema):
    """A ledger."""

    id = Whole(1, GREATEST_ID, required=True)
    name = LedgerName(required=True)
    created_at = Time(required=True)

    example: ClassVar[dict[str, Any]] = {"id": 1, "name": "main", "created_at": "2026-01-31T09:00:00.000000Z"}


class SealAnswer(AnswerSchema):
    """A seal over a range of the log; hashes are SHA-256 in hexadecimal."""

    ledger_id = Whole(1, GREATEST_ID, required=True)
    number = Whole(1, GREATEST_ID, required=True, meaning="counts the ledger's seals, without a gap")
    first_id = Whole(1, GREATEST_ID, required=True, meaning="the first transfer under it")
    last_id = Whole(1, GREATEST_ID, required=True, meaning="the last transfer under it")
    transfers = Whole(1, required=True, meaning="how many are under it")
    rows_hash = Text(64, 64, required=True, meaning="over the transfers")
    sealed_at = Time(required=True)
    previous_hash = Text(64, 64, required=True, allow_none=True, meaning="of the seal before; null where that is gone")
    hash = Text(64, 64, required=True, meaning="over all of the above")

    example: ClassVar[dict[str, Any]] = {
        "ledger_id": 1, "number": 1, "first_id": 1, "last_id": 2, "transfers": 2,
        "rows_hash": "9c664f056e2763dd36c6302af781e0d328fdc8f170dcfd33795cd752b33bd7bc",
        "sealed_at": "2026-01-31T09:32:00.000000Z", "previous_hash": "0" * 64,
        "hash": "d670dc294a264f84438f1403aacc73f98650e3b601f56815f9eeca0c10834831",
    }


class KeyAnswer(AnswerSchema):
    """An API key, without its secret."""

    id = Text(12, 12, required=True)
    ledger = LedgerName(required=True)
    name = Text(0, 200, required=True)
    scopes = Several(Choice(*GRANTABLE), len(GRANTABLE), required=True)
    debit_accounts = Several(Whole(1, GREATEST_ID), MOST_DEBIT_ACCOUNTS, required=True, allow_none=True)
    rate_per_s = Whole(1, MOST_RATE_PER_S, required=True, allow_none=True)
    burst = Whole(1, GREATEST_KEY_BURST, required=True, allow_none=True)
    created_at = Time(required=True)
    expires_at = Time(required=True, allow_none=True)
    last_used_at = Time(required=True, allow_none=True)
    revoked_at = Time(required=True, allow_none=True)
    replaced_by = Text(12, 12, required=True, allow_none=True)

    example: ClassVar[dict[str, Any]] = {
        "id": "0123456789ab", "ledger": "main", "name": "till 1", "scopes": ["write"], "debit_accounts": None,
        "rate_per_s": 50, "burst": None, "created_at": "2026-01-31T09:00:00.000000Z", "expires_at": None,
        "last_used_at": None, "revoked_at": None, "replaced_by": None,
    }


class NewKeyAnswer(KeyAnswer):
    """An API key that was just made, with its secret."""

    key = Text(81, 81, required=True, meaning="what `Authorization: Bearer` takes; it is shown this once")

    example: ClassVar[dict[str, Any]] = {**KeyAnswer.example, "key": "ldg_0123456789ab_" + "0" * 64}


class PageSchema(AnswerSchema):
    next_cursor = Described[str](CURSOR, required=True, allow_none=True, meaning="`cursor` of the next page; null at the end")


class UserPage(PageSchema):
    """A page of users."""

    data = fields.List(fields.Nested(UserAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [UserAnswer.example], "next_cursor": None}


class AccountPage(PageSchema):
    """A page of accounts."""

    data = fields.List(fields.Nested(AccountAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [AccountAnswer.example], "next_cursor": None}


class TransferPage(PageSchema):
    """A page of transfers."""

    data = fields.List(fields.Nested(TransferAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [TransferAnswer.example], "next_cursor": None}


class LedgerPage(PageSchema):
    """A page of ledgers."""

    data = fields.List(fields.Nested(LedgerAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [LedgerAnswer.example], "next_cursor": None}


class SealPage(PageSchema):
    """A page of seals, and how far the ledger is sealed."""

    data = fields.List(fields.Nested(SealAnswer), required=True)
    sealed_to = Whole(0, GREATEST_ID, required=True, meaning="the last transfer under a seal; 0 for none")
    unsealed_since = Time(required=True, allow_none=True, meaning="of the first transfer without a seal; null for none")

    example: ClassVar[dict[str, Any]] = {
        "data": [SealAnswer.example], "next_cursor": None, "sealed_to": 2, "unsealed_since": None,
    }


class KeyPage(PageSchema):
    """A page of keys."""

    data = fields.List(fields.Nested(KeyAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [KeyAnswer.example], "next_cursor": None}


class EntryPage(PageSchema):
    """A page of a statement."""

    data = fields.List(fields.Nested(EntryAnswer), required=True)
    previous_cursor = Described[str](CURSOR, required=True, allow_none=True, meaning="`cursor` back; null at the beginning")

    example: ClassVar[dict[str, Any]] = {"data": [EntryAnswer.example], "next_cursor": None, "previous_cursor": None}


class ServiceAnswer(AnswerSchema):
    """A service, and how many instances it has."""

    service = Text(1, 63, pattern=whole(SERVICE_NAME), required=True)
    instances = Whole(1, required=True)

    example: ClassVar[dict[str, Any]] = {"service": "mail", "instances": 2}


class ServicePage(PageSchema):
    """A page of services."""

    data = fields.List(fields.Nested(ServiceAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [ServiceAnswer.example], "next_cursor": None}


class InstanceAnswer(AnswerSchema):
    """An instance of a service, and what is left of its lease."""

    service = Text(1, 63, pattern=whole(SERVICE_NAME), required=True)
    id = Text(1, 128, pattern=whole(INSTANCE_ID), required=True)
    address = Address(required=True)
    metadata = Metadata(required=True)
    lease_s = Whole(1, LONGEST_LEASE_S, required=True)
    registered_at = Time(required=True)
    expires_at = Time(required=True, meaning="by the clock of the database")
    expires_in_ms = Whole(0, 1000 * LONGEST_LEASE_S, required=True, meaning="the same, for whoever has another clock")

    example: ClassVar[dict[str, Any]] = {
        "service": "mail", "id": "mail-1", "address": "10.0.0.5:8080", "metadata": {"zone": "a"}, "lease_s": 30,
        "registered_at": "2026-01-31T09:30:00.000000Z", "expires_at": "2026-01-31T09:30:30.000000Z", "expires_in_ms": 29998,
    }


class InstancePage(PageSchema):
    """A page of instances."""

    data = fields.List(fields.Nested(InstanceAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [InstanceAnswer.example], "next_cursor": None}


class SearchHit(AnswerSchema):
    """Something that fits: its kind, and itself under the name of its kind."""

    kind = Choice("user", "account", "transfer", required=True)
    user = fields.Nested(UserAnswer)
    account = fields.Nested(AccountAnswer)
    transfer = fields.Nested(TransferAnswer)

    example: ClassVar[dict[str, Any]] = {"kind": "user", "user": UserAnswer.example}
    json_schema: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {"properties": {"kind": {"const": kind}}, "required": [kind]} for kind in ("user", "account", "transfer")
        ],
    }


class SearchAnswer(AnswerSchema):
    """What fits, the best first."""

    data = fields.List(fields.Nested(SearchHit), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [SearchHit.example]}


class StateAnswer(AnswerSchema):
    """What a probe says."""

    status = Choice("ok", "ready", required=True)

    example: ClassVar[dict[str, Any]] = {"status": "ok"}


class Problem(AnswerSchema):
    """An error (RFC 9457)."""

    type = Described[str]({"type": "string", "format": "uri"}, required=True, meaning="`urn:ledgerd:error:` and the code")
    title = Described[str]({"type": "string"}, required=True, meaning="the status in words")
    status = Whole(400, 599, required=True)
    detail = Described[str]({"type": "string"}, required=True, meaning="for people; it may change")
    code = Choice(*CODES, required=True, meaning="what programs test")
    request_id = Described[str]({"type": "string"}, required=True, meaning="the log has the request under it")
    errors = fields.List(fields.Nested(FieldProblem), metadata={"description": "the parts of the request that are to blame"})

    example: ClassVar[dict[str, Any]] = describe(NotFound("No user 7 in this ledger."), "6f40d12f2a36f853a003eee2")
