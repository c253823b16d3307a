"""What the answers look like, as marshmallow schemas: for the OpenAPI document, and for tests that hold answers to it.

The answers themselves are made by hand in `representation`: a schema would cost more than the rest of the request.
"""

from __future__ import annotations

from marshmallow import Schema, fields

from service.api.fields import Asset, Choice, Email, Metadata, Text, Time, Whole
from service.ledger.money import GREATEST_AMOUNT, GREATEST_ID


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
