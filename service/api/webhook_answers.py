"""What is answered about webhooks, as marshmallow schemas: see `answers`."""

from __future__ import annotations

from typing import Any, ClassVar

from marshmallow import fields

from service.api.answers import AnswerSchema, PageSchema
from service.api.fields import Choice, Several, Text, Time, Url, Whole
from service.events.event import EVENT_TYPES
from service.events.subscriptions import MOST_ACCOUNTS
from service.ledger.money import GREATEST_ID

TYPES = Choice(*EVENT_TYPES)


class WebhookAnswer(AnswerSchema):
    """A webhook, without its secret."""

    id = Whole(1, GREATEST_ID, required=True)
    url = Url(required=True)
    types = Several(TYPES, len(EVENT_TYPES), required=True, allow_none=True)
    account_ids = Several(Whole(1, GREATEST_ID), MOST_ACCOUNTS, required=True, allow_none=True)
    description = Text(0, 200, required=True)
    status = Choice("enabled", "disabled", required=True)
    disabled_because = Text(
        4, 5, pattern="^(asked|gone)$", required=True, allow_none=True, meaning="gone: its receiver answered 410"
    )
    position = Whole(
        0, GREATEST_ID, required=True, meaning="every event up to this id is dealt with, but for those that wait or are dead"
    )
    waiting = Whole(0, required=True, meaning="events that failed, or wait behind such a one, and will be attempted again")
    dead = Whole(0, required=True, meaning="events that were given up")
    old_secret_until = Time(required=True, allow_none=True, meaning="until when the secret before signs as well")
    created_at = Time(required=True)
    updated_at = Time(required=True)

    example: ClassVar[dict[str, Any]] = {
        "id": 1, "url": "https://shop.example.com/ledger", "types": ["transfer.posted"], "account_ids": None,
        "description": "", "status": "enabled", "disabled_because": None, "position": 1042, "waiting": 0, "dead": 0,
        "old_secret_until": None,  # nosec B105  # a time, or none
        "created_at": "2026-01-31T09:00:00.000000Z", "updated_at": "2026-01-31T09:00:00.000000Z",
    }


class NewWebhookAnswer(WebhookAnswer):
    """A webhook with the secret that it has just got."""

    secret = Text(38, 100, pattern="^whsec_[A-Za-z0-9+/]+={0,2}$", required=True, meaning="it is shown this once")

    example: ClassVar[dict[str, Any]] = {
        **WebhookAnswer.example,
        "secret": "whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=",  # nosec B105  # an example: 32 times the digit 0
    }


class WebhookPage(PageSchema):
    """A page of webhooks."""

    data = fields.List(fields.Nested(WebhookAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [WebhookAnswer.example], "next_cursor": None}


class DeliveryAnswer(AnswerSchema):
    """An event that a webhook has not taken."""

    event_id = Whole(1, GREATEST_ID, required=True)
    type = Choice(*EVENT_TYPES, required=True)
    account_ids = Several(Whole(1, GREATEST_ID), 2, required=True)
    status = Choice("waiting", "dead", required=True)
    attempts = Whole(0, required=True)
    next_attempt_at = Time(required=True, allow_none=True, meaning="null: it is dead")
    last_attempt_at = Time(required=True, allow_none=True, meaning="null: it waits behind one about the same account")
    last_problem = Text(1, 200, required=True, allow_none=True)
    died_at = Time(required=True, allow_none=True)

    example: ClassVar[dict[str, Any]] = {
        "event_id": 1001, "type": "transfer.posted", "account_ids": [1, 2], "status": "dead", "attempts": 24,
        "next_attempt_at": None, "last_attempt_at": "2026-01-31T09:30:00.000000Z", "last_problem": "status 500",
        "died_at": "2026-01-31T09:30:00.000000Z",
    }


class DeliveryPage(PageSchema):
    """A page of events that a webhook has not taken."""

    data = fields.List(fields.Nested(DeliveryAnswer), required=True)

    example: ClassVar[dict[str, Any]] = {"data": [DeliveryAnswer.example], "next_cursor": None}


class RedeliveredAnswer(AnswerSchema):
    """How many events will be attempted anew."""

    redelivered = Whole(0, required=True)

    example: ClassVar[dict[str, Any]] = {"redelivered": 3}
