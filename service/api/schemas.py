"""What clients may send, as marshmallow schemas. An unknown field is an error that names it.

Each has an `example`, and in `json_schema` what its fields cannot say: both for the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from marshmallow import RAISE, Schema, ValidationError, missing
from marshmallow.fields import List, Nested

from service.api.body import MOST_SHOWN
from service.api.fields import (
    Address,
    Asset,
    Choice,
    Elements,
    Email,
    Flag,
    Key,
    LedgerName,
    Metadata,
    Moment,
    Several,
    Text,
    Url,
    Whole,
)
from service.errors import FieldError, InvalidInput
from service.events import signing
from service.events.event import EVENT_TYPES
from service.events.registry import LONGEST_LEASE_S
from service.events.subscriptions import MOST_ACCOUNTS
from service.ledger.grants import GREATEST_KEY_BURST, MOST_DEBIT_ACCOUNTS
from service.ledger.keys import DEFAULT_OVERLAP_S, LONGEST_LIFE_S, LONGEST_OVERLAP_S
from service.ledger.money import GREATEST_AMOUNT, GREATEST_ID
from service.ledger.scopes import GRANTABLE
from service.ledger.transfers import LONGEST_HOLD_S, MOST_LINKED
from service.limits.bucket import MOST_RATE_PER_S

MOST_UNKNOWN = 20
MOST_IN_BULK = 10_000  # transfers


class _Strict(Schema):
    error_messages = {"unknown": "there is no such field here"}  # noqa: RUF012  # marshmallow's own protocol

    class Meta:
        unknown = RAISE

    def contradictions(self, _values: Mapping[str, Any]) -> Sequence[FieldError]:
        """What is wrong between fields that are acceptable each by itself."""
        return ()


class Objects(List[Any]):
    """An array of a bounded number of objects of one schema."""

    def __init__(self, schema: _Strict, low: int, high: int, **options: Any) -> None:
        super().__init__(Nested(schema), metadata={"minItems": low, "maxItems": high}, **options)
        self._schema, self._low, self._high = schema, low, high

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[dict[str, Any]]:  # type: ignore[override]
        if not isinstance(value, list) or not self._low <= len(value) <= self._high:
            raise ValidationError(f"expected an array of {self._low} to {self._high} objects")
        found: list[dict[str, Any]] = []
        problems: dict[int, Any] = {}
        for number, each in enumerate(value):
            if not isinstance(each, dict):
                problems[number] = ["expected an object"]
                continue
            try:
                found.append(load(self._schema, each))
            except InvalidInput as error:
                problems[number] = {problem.field: [problem.message] for problem in error.fields}
        if problems:
            raise ValidationError(problems)
        return found


class UserInput(_Strict):
    """The body of POST /api/users and PUT /api/users/{id}."""

    name = Text(1, 200, required=True)
    email = Email(required=True)
    metadata = Metadata(load_default=dict)

    example: ClassVar[dict[str, Any]] = {"name": "Ada", "email": "ada@example.com", "metadata": {"tier": "gold"}}


class AccountInput(_Strict):
    """The body of POST /api/accounts. Limits are minor units; null is no limit."""

    user_id = Whole(1, GREATEST_ID, load_default=None, allow_none=True, meaning="the owner, or none")
    asset = Asset(required=True)
    min_balance = Whole(-GREATEST_AMOUNT, 0, load_default=0, allow_none=True, meaning="the floor; null is none")
    max_balance = Whole(0, load_default=None, allow_none=True, meaning="the ceiling; null is none")
    metadata = Metadata(load_default=dict)

    example: ClassVar[dict[str, Any]] = {"asset": "USD/2", "user_id": 1, "max_balance": 100_000}


class AccountChanges(_Strict):
    """The body of PATCH /api/accounts/{id}: what is not named stays."""

    status = Choice("open", "frozen", "closed")
    min_balance = Whole(-GREATEST_AMOUNT, allow_none=True)
    max_balance = Whole(-GREATEST_AMOUNT, allow_none=True)
    metadata = Metadata(meaning="replaces the old one")

    example: ClassVar[dict[str, Any]] = {"status": "frozen"}
    json_schema: ClassVar[dict[str, Any]] = {"minProperties": 1}


class TransferInput(_Strict):
    """The body of POST /api/transfers."""

    from_account_id = Whole(1, GREATEST_ID, required=True, meaning="the account to debit")
    to_account_id = Whole(1, GREATEST_ID, required=True, meaning="the account to credit")
    amount = Whole(1, required=True, meaning="minor units")
    asset = Asset(load_default=None, meaning="refused unless both accounts hold it; without it they decide")
    reference = Text(1, 255, load_default=None, meaning="the client's own; it need not be unique")
    metadata = Metadata(load_default=None)
    if_from_version = Whole(0, load_default=None, meaning="refused unless the debited account has this `version`")
    hold = Flag(load_default=False, meaning="set the amount aside, to be captured or released later")
    expires_in_s = Whole(1, LONGEST_HOLD_S, load_default=None, meaning="how long it is held at most; only with `hold`")

    example: ClassVar[dict[str, Any]] = {
        "from_account_id": 1, "to_account_id": 2, "amount": 1250, "reference": "order 1001",
    }
    json_schema: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"properties": {"hold": {"const": True}}, "required": ["hold"]},
            {"properties": {"expires_in_s": {"type": "null"}}},
        ],
    }

    def contradictions(self, values: Mapping[str, Any]) -> Sequence[FieldError]:
        if values["expires_in_s"] is not None and not values["hold"]:
            return (FieldError("expires_in_s", "only a hold expires: send it with `hold: true`, or not at all"),)
        return ()


class LinkedInput(_Strict):
    """The body of POST /api/transfers/linked."""

    transfers = Objects(TransferInput(), 2, MOST_LINKED, required=True)

    example: ClassVar[dict[str, Any]] = {
        "transfers": [TransferInput.example, {"from_account_id": 2, "to_account_id": 3, "amount": 50, "reference": "fee"}],
    }


class ResolutionInput(_Strict):
    """The body of POST /api/transfers/{id}/release and /reverse."""

    reference = Text(1, 255, load_default=None, meaning="the client's own; it need not be unique")
    metadata = Metadata(load_default=None)

    example: ClassVar[dict[str, Any]] = {"reference": "order 1001"}


class CaptureInput(ResolutionInput):
    """The body of POST /api/transfers/{id}/capture."""

    amount = Whole(1, load_default=None, meaning="minor units, as much as is held at most; all of it without this")

    example: ClassVar[dict[str, Any]] = {"amount": 1000, "reference": "order 1001"}


class BulkItem(TransferInput):
    """A transfer among others: what POST /api/transfers takes, and a key of its own."""

    idempotency_key = Key(load_default=None, meaning="as the header `Idempotency-Key`, for this transfer alone")

    example: ClassVar[dict[str, Any]] = {"from_account_id": 1, "to_account_id": 3, "amount": 99, "idempotency_key": "order-7"}


class BulkInput(_Strict):
    """The body of POST /api/transfers/bulk."""

    mode = Choice(
        "independent", "atomic", load_default="independent",
        meaning="independent: each on its own; atomic: all of them, or none",
    )
    transfers = Elements(Nested(BulkItem), MOST_IN_BULK, required=True)

    example: ClassVar[dict[str, Any]] = {
        "mode": "independent",
        "transfers": [TransferInput.example, BulkItem.example],
    }


class LedgerInput(_Strict):
    """The body of POST /api/ledgers."""

    name = LedgerName(required=True)

    example: ClassVar[dict[str, Any]] = {"name": "shop"}


class KeyInput(_Strict):
    """The body of POST /api/keys. Null is no end, every account, the server's own rate, the ledger of the key in use."""

    name = Text(0, 200, load_default="")
    scopes = Several(Choice(*GRANTABLE), len(GRANTABLE), required=True)
    expires_in_s = Whole(1, LONGEST_LIFE_S, load_default=None, allow_none=True)
    expires_at = Moment(load_default=None, allow_none=True)
    debit_accounts = Several(Whole(1, GREATEST_ID), MOST_DEBIT_ACCOUNTS, load_default=None, allow_none=True)
    rate_per_s = Whole(1, MOST_RATE_PER_S, load_default=None, allow_none=True)
    burst = Whole(1, GREATEST_KEY_BURST, load_default=None, allow_none=True)
    ledger = LedgerName(load_default=None, allow_none=True)

    example: ClassVar[dict[str, Any]] = {"scopes": ["read"], "name": "till 1", "expires_in_s": 86_400}
    json_schema: ClassVar[dict[str, Any]] = {  # an end is given once
        "not": {
            "properties": {"expires_in_s": {"type": "integer"}, "expires_at": {"type": "string"}},
            "required": ["expires_in_s", "expires_at"],
        },
    }


class RotationInput(_Strict):
    """The body of POST /api/keys/{id}/rotate: how long the old key goes on."""

    overlap_s = Whole(0, LONGEST_OVERLAP_S, load_default=DEFAULT_OVERLAP_S)

    example: ClassVar[dict[str, Any]] = {"overlap_s": 3600}


class WebhookInput(_Strict):
    """The body of POST /api/webhooks."""

    url = Url(required=True, meaning="where the events are posted to")
    types = Several(Choice(*EVENT_TYPES), len(EVENT_TYPES), load_default=None, allow_none=True)
    account_ids = Several(Whole(1, GREATEST_ID), MOST_ACCOUNTS, load_default=None, allow_none=True)
    description = Text(0, 200, load_default="")
    after = Whole(0, GREATEST_ID, load_default=None, allow_none=True, meaning="the event after which to begin")

    example: ClassVar[dict[str, Any]] = {"url": "https://shop.example.com/ledger", "types": ["transfer.posted"]}


class WebhookChanges(_Strict):
    """The body of PATCH /api/webhooks/{id}: what is not named stays."""

    url = Url()
    types = Several(Choice(*EVENT_TYPES), len(EVENT_TYPES), allow_none=True)
    account_ids = Several(Whole(1, GREATEST_ID), MOST_ACCOUNTS, allow_none=True)
    description = Text(0, 200)
    status = Choice("enabled", "disabled")

    example: ClassVar[dict[str, Any]] = {"status": "disabled"}
    json_schema: ClassVar[dict[str, Any]] = {"minProperties": 1}


class SecretRotationInput(_Strict):
    """The body of POST /api/webhooks/{id}/rotate-secret: how long the old secret signs beside the new one."""

    overlap_s = Whole(0, signing.LONGEST_OVERLAP_S, load_default=signing.DEFAULT_OVERLAP_S)

    example: ClassVar[dict[str, Any]] = {"overlap_s": 3600}


class InstanceInput(_Strict):
    """The body of PUT /api/services/{service}/instances/{instance_id}."""

    address = Address(required=True, meaning="where it is: HOST:PORT, or an http(s) URL")
    lease_s = Whole(1, LONGEST_LEASE_S, required=True, meaning="how many seconds it stays unless it is renewed")
    metadata = Metadata(load_default=dict)

    example: ClassVar[dict[str, Any]] = {"address": "10.0.0.5:8080", "lease_s": 30, "metadata": {"zone": "a"}}


def load(schema: _Strict, data: dict[str, Any]) -> dict[str, Any]:
    """`data` checked by `schema`, with defaults. Raises InvalidInput that names every field at fault."""
    loaded = _accept(schema, data) or _load_slowly(schema, data)
    if problems := schema.contradictions(loaded):
        raise InvalidInput("Some fields are not acceptable.", fields=tuple(problems))
    return loaded


def _load_slowly(schema: _Strict, data: dict[str, Any]) -> dict[str, Any]:
    unknown = [name for name in data if name not in schema.load_fields]
    if len(unknown) > MOST_UNKNOWN:  # to name a hundred thousand would keep the worker, and take more than the body did
        fields = _flatten({name[:MOST_SHOWN]: ["there is no such field here"] for name in unknown[:MOST_UNKNOWN]})
        raise InvalidInput(f"More than {MOST_UNKNOWN} fields do not exist here.", fields=tuple(fields))
    try:
        loaded: dict[str, Any] = schema.load(data)
    except ValidationError as exc:
        raise InvalidInput("Some fields are not acceptable.", fields=tuple(_flatten(exc.messages))) from exc
    return loaded


def _accept(schema: Schema, data: dict[str, Any]) -> dict[str, Any] | None:
    """What `schema.load` makes of data without a fault, by its own fields but without its machinery, which costs ten times as
    much; None where anything is out of the ordinary, for marshmallow to say what.
    """
    loaded: dict[str, Any] = {}
    taken = 0
    try:
        for name, field in schema.load_fields.items():
            if name in data:
                taken += 1
                value = data[name]
                if value is None and not field.allow_none:
                    return None
                loaded[name] = None if value is None else field._deserialize(value, name, data)
            elif field.required:
                return None
            elif field.load_default is not missing:
                loaded[name] = field.load_default() if callable(field.load_default) else field.load_default
    except ValidationError:
        return None
    return loaded if taken == len(data) else None


def _flatten(messages: Any, prefix: str = "") -> list[FieldError]:
    if isinstance(messages, dict):
        found = []
        for name, inner in messages.items():
            if isinstance(name, int):  # which one of an array
                found += _flatten(inner, f"{prefix}[{name}]")
                continue
            printable = name[:MOST_SHOWN].encode("utf-8", "replace").decode()
            found += _flatten(inner, f"{prefix}.{printable}" if prefix else printable)
        return found
    return [FieldError(prefix, " ".join(map(str, messages)))]
