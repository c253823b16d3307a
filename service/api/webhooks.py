"""/api/webhooks: who is told of the ledger's events; the secrets that sign, and what could not be delivered."""

from __future__ import annotations

from collections.abc import Iterable

from service.api.body import read_object
from service.api.calls import Answer, Call, page, path_id
from service.api.cursors import Cursors
from service.api.parameters import MADE, PAGE
from service.api.representation import show_delivery, show_webhook
from service.api.routes import Header, Parameter, Route
from service.api.schemas import SecretRotationInput, WebhookChanges, WebhookInput, load
from service.api.webhook_answers import DeliveryPage, NewWebhookAnswer, RedeliveredAnswer, WebhookAnswer, WebhookPage
from service.errors import FieldError, InvalidInput
from service.events.signing import show_secret
from service.events.subscriptions import Webhook, Webhooks

_STATUSES = ("waiting", "dead")
_STATUS = Parameter("status", "only those", {"type": "string", "enum": list(_STATUSES)})
_NOT_STORED = {"Cache-Control": Header("the answer holds a secret", {"const": "no-store"})}


class WebhookHandlers:
    """The handlers, with what they need."""

    def __init__(self, webhooks: Webhooks, cursors: Cursors) -> None:
        self._webhooks = webhooks
        self._cursors = cursors
        self._input = WebhookInput()
        self._changes = WebhookChanges()
        self._rotation = SecretRotationInput()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        read, write = "webhooks:read", "webhooks:write"
        yield Route(
            method="GET", path="/api/webhooks", handler=self.list, scope=read, summary="A page of the ledger's webhooks by id",
            query=PAGE, answers={200: WebhookPage()},
        )
        yield Route(
            method="POST", path="/api/webhooks", handler=self.create, scope=write,
            summary="Make a webhook; the secret that signs what it is sent is shown this once", body=self._input,
            answers={201: NewWebhookAnswer()}, answer_headers=MADE | _NOT_STORED, errors=("conflict",),
        )
        yield Route(
            method="GET", path="/api/webhooks/<webhook_id>", handler=self.find, scope=read, summary="One webhook",
            answers={200: WebhookAnswer()}, errors=("not_found",),
        )
        yield Route(
            method="PATCH", path="/api/webhooks/<webhook_id>", handler=self.change, scope=write,
            summary="Change a webhook, or disable it for a while: enabled again, it goes on where it was", body=self._changes,
            answers={200: WebhookAnswer()}, errors=("not_found",),
        )
        yield Route(
            method="DELETE", path="/api/webhooks/<webhook_id>", handler=self.delete, scope=write,
            summary="Remove a webhook with all that it has not been told", answers={204: None}, errors=("not_found",),
        )
        yield Route(
            method="POST", path="/api/webhooks/<webhook_id>/rotate-secret", handler=self.rotate_secret, scope=write,
            summary="Give a webhook a new secret; the one before signs beside it for the overlap", body=self._rotation,
            answers={200: NewWebhookAnswer()}, answer_headers=_NOT_STORED, errors=("not_found",),
        )
        yield Route(
            method="GET", path="/api/webhooks/<webhook_id>/deliveries", handler=self.list_deliveries, scope=read,
            summary="A page of the events that wait to be attempted again, or were given up", query=(*PAGE, _STATUS),
            answers={200: DeliveryPage()}, errors=("not_found",),
        )
        yield Route(
            method="POST", path="/api/webhooks/<webhook_id>/deliveries/<event_id>/redeliver", handler=self.redeliver,
            scope=write, summary="Attempt anew an event that was given up", answers={204: None}, errors=("not_found",),
        )
        yield Route(
            method="POST", path="/api/webhooks/<webhook_id>/redeliver", handler=self.redeliver_all, scope=write,
            summary="Attempt anew every event that was given up", answers={200: RedeliveredAnswer()}, errors=("not_found",),
        )

    def list(self, call: Call) -> Answer:
        """A page of webhooks by id."""
        asked, _ = page(call, self._cursors, "webhooks")
        rows = self._webhooks.list(call.ctx, call.ledger_id, after=asked.position or 0, limit=asked.limit + 1)
        return asked.answer(call.ctx, self._cursors, rows, show_webhook, lambda webhook: webhook.id)

    def create(self, call: Call) -> Answer:
        """201 with the webhook, its secret, and where it is."""
        values = load(self._input, read_object(call.environ))
        webhook, secret = self._webhooks.create(call.ctx, call.ledger_id, **values)
        return Answer(
            _with_secret(webhook, secret), 201, Location=f"/api/webhooks/{webhook.id}", Cache_Control="no-store"
        )

    def find(self, call: Call, webhook_id: str) -> Answer:
        """One webhook."""
        return Answer(show_webhook(self._webhooks.find(call.ctx, call.ledger_id, path_id("webhook", webhook_id))))

    def change(self, call: Call, webhook_id: str) -> Answer:
        """The webhook as it is then."""
        number, changes = path_id("webhook", webhook_id), load(self._changes, read_object(call.environ))
        if not changes:
            raise InvalidInput("The body names no field to change.")
        return Answer(show_webhook(self._webhooks.change(call.ctx, call.ledger_id, number, changes)))

    def delete(self, call: Call, webhook_id: str) -> Answer:
        """204."""
        self._webhooks.delete(call.ctx, call.ledger_id, path_id("webhook", webhook_id))
        return Answer(None, 204)

    def rotate_secret(self, call: Call, webhook_id: str) -> Answer:
        """The webhook and its new secret."""
        number, values = path_id("webhook", webhook_id), load(self._rotation, read_object(call.environ))
        webhook, secret = self._webhooks.rotate_secret(call.ctx, call.ledger_id, number, overlap_s=values["overlap_s"])
        return Answer(_with_secret(webhook, secret), Cache_Control="no-store")

    def list_deliveries(self, call: Call, webhook_id: str) -> Answer:
        """A page in the order of events."""
        number = path_id("webhook", webhook_id)
        asked, filters = page(call, self._cursors, f"deliveries of {number}", "status")
        status = filters.get("status")
        if status is not None and status not in _STATUSES:
            message = f"expected one of {', '.join(_STATUSES)}"
            raise InvalidInput(f"status: {message}.", fields=(FieldError("status", message),))
        rows = self._webhooks.list_deliveries(
            call.ctx, call.ledger_id, number, status=status, after=asked.position or 0, limit=asked.limit + 1
        )
        return asked.answer(call.ctx, self._cursors, rows, show_delivery, lambda delivery: delivery.event_id)

    def redeliver(self, call: Call, webhook_id: str, event_id: str) -> Answer:
        """204: it will be attempted as soon as can be."""
        number, event = path_id("webhook", webhook_id), path_id("event", event_id)
        self._webhooks.redeliver(call.ctx, call.ledger_id, number, event)
        return Answer(None, 204)

    def redeliver_all(self, call: Call, webhook_id: str) -> Answer:
        """How many will be attempted anew."""
        count = self._webhooks.redeliver_all(call.ctx, call.ledger_id, path_id("webhook", webhook_id))
        return Answer({"redelivered": count})


def _with_secret(webhook: Webhook, secret: bytes) -> dict[str, object]:
    return {**show_webhook(webhook), "secret": show_secret(secret)}
