"""What the answers look like, as marshmallow schemas: for the OpenAPI document, and for tests that hold answers to it.

The answers themselves are made by hand in `representation`: a schema would cost more than the rest of the request.
"""

from __future__ import annotations

from marshmallow import Schema, fields

from service.api.fields import Asset, Choice, Email, LedgerName, Metadata, Several, Text, Time, Whole
from service.ledger.grants import GREATEST_BURST, GREATEST_RATE_PER_S, MOST_DEBIT_ACCOUNTS
from service.ledger.money import GREATEST_AMOUNT, GREATEST_ID
from service.ledger.scopes import GRANTABLE


class UserAnswer(Schema):
    """A user."""

    id = Whole(1, GREATEST_ID, required=True)
    name = Text(1, 200, required=True)
    email = Email(required=True)
    metadata = Metadata(required=True)
    version = Whole(1, required=True)
    created_at = Time(required=True)
    updated_at = Time(required=True)


class AccountAnswer(Schema):
    """An account; balances in minor units."""

    id = Whole(1, GREATEST_ID, required=True)
    user_id = Whole(1, GREATEST_ID, required=True, allow_none=True)
    asset = Asset(required=True)
    balance = Whole(-GREATEST_AMOUNT, required=True)
    held = Whole(0, required=True)
    available = Whole(-2 * GREATEST_AMOUNT, required=True)
    min_balance = Whole(-GREATEST_AMOUNT, required=True, allow_none=True)
    max_balance = Whole(-GREATEST_AMOUNT, required=True, allow_none=True)
    status = Choice("open", "frozen", "closed", required=True)
    version = Whole(0, required=True)
    metadata = Metadata(required=True)
    created_at = Time(required=True)
    updated_at = Time(required=True)


class BalanceAnswer(Schema):
    """What an account holds, in minor units: now, with what is held of it, or at the time `at`."""

    account_id = Whole(1, GREATEST_ID, required=True)
    asset = Asset(required=True)
    balance = Whole(-GREATEST_AMOUNT, required=True)
    held = Whole(0)
    available = Whole(-2 * GREATEST_AMOUNT)
    version = Whole(0, required=True)
    updated_at = Time()
    at = Time()


class EntryAnswer(Schema):
    """A line of a statement; `balance` is what the account held right after it."""

    version = Whole(1, required=True)
    transfer_id = Whole(1, GREATEST_ID, required=True)
    direction = Choice("debit", "credit", required=True)
    amount = Whole(1, required=True)
    balance = Whole(-GREATEST_AMOUNT, required=True)
    other_account_id = Whole(1, GREATEST_ID, required=True)
    asset = Asset(required=True)
    reference = Text(1, 255, required=True, allow_none=True)
    metadata = Metadata(required=True)
    created_at = Time(required=True)


class TransferAnswer(Schema):
    """A transfer; amount and balances in minor units."""

    id = Whole(1, GREATEST_ID, required=True)
    status = Choice("posted", required=True)
    from_account_id = Whole(1, GREATEST_ID, required=True)
    to_account_id = Whole(1, GREATEST_ID, required=True)
    amount = Whole(1, required=True)
    asset = Asset(required=True)
    reference = Text(1, 255, required=True, allow_none=True)
    metadata = Metadata(required=True)
    from_version = Whole(1, required=True)
    to_version = Whole(1, required=True)
    from_balance = Whole(-GREATEST_AMOUNT, required=True)
    to_balance = Whole(-GREATEST_AMOUNT, required=True)
    created_at = Time(required=True)


class LedgerAnswer(Schema):
    """A ledger."""

    id = Whole(1, GREATEST_ID, required=True)
    name = LedgerName(required=True)
    created_at = Time(required=True)


class KeyAnswer(Schema):
    """An API key, without its secret."""

    id = Text(12, 12, required=True)
    ledger = LedgerName(required=True)
    name = Text(0, 200, required=True)
    scopes = Several(Choice(*GRANTABLE), len(GRANTABLE), required=True)
    debit_accounts = Several(Whole(1, GREATEST_ID), MOST_DEBIT_ACCOUNTS, required=True, allow_none=True)
    rate_per_s = Whole(1, GREATEST_RATE_PER_S, required=True, allow_none=True)
    burst = Whole(1, GREATEST_BURST, required=True, allow_none=True)
    created_at = Time(required=True)
    expires_at = Time(required=True, allow_none=True)
    last_used_at = Time(required=True, allow_none=True)
    revoked_at = Time(required=True, allow_none=True)
    replaced_by = Text(12, 12, required=True, allow_none=True)


class NewKeyAnswer(KeyAnswer):
    """An API key that was just made, with its secret."""

    key = Text(81, 81, required=True)


class UserPage(Schema):
    """A page of users."""

    data = fields.List(fields.Nested(UserAnswer), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class AccountPage(Schema):
    """A page of accounts."""

    data = fields.List(fields.Nested(AccountAnswer), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class TransferPage(Schema):
    """A page of transfers."""

    data = fields.List(fields.Nested(TransferAnswer), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class LedgerPage(Schema):
    """A page of ledgers."""

    data = fields.List(fields.Nested(LedgerAnswer), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class KeyPage(Schema):
    """A page of keys."""

    data = fields.List(fields.Nested(KeyAnswer), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class EntryPage(Schema):
    """A page of a statement."""

    data = fields.List(fields.Nested(EntryAnswer), required=True)
    next_cursor = fields.String(required=True, allow_none=True)
    previous_cursor = fields.String(required=True, allow_none=True)


class SearchHit(Schema):
    """Something that fits: its kind, and itself under the name of its kind."""

    kind = Choice("user", "account", "transfer", required=True)
    user = fields.Nested(UserAnswer)
    account = fields.Nested(AccountAnswer)
    transfer = fields.Nested(TransferAnswer)


class SearchAnswer(Schema):
    """What fits, the best first."""

    data = fields.List(fields.Nested(SearchHit), required=True)


class StateAnswer(Schema):
    """What a probe says."""

    status = Choice("ok", "ready", required=True)
