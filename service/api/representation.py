"""How users, accounts, their entries, transfers, events, webhooks, ledgers, seals, keys and services look in JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.audit.seal import Seal
from service.events.event import Event
from service.events.registry import Instance, Service
from service.events.subscriptions import Delivery, Webhook
from service.ledger.accounts import Account
from service.ledger.entries import Entry
from service.ledger.keys import ApiKey
from service.ledger.ledgers import Ledger
from service.ledger.transfers import Transfer
from service.ledger.user import User


def show_time(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds; every moment from the database is in UTC."""
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def show_user(user: User) -> dict[str, Any]:
    """A user's JSON."""
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "metadata": user.metadata,
        "version": user.version,
        "created_at": show_time(user.created_at),
        "updated_at": show_time(user.updated_at),
    }


def show_account(account: Account) -> dict[str, Any]:
    """An account's JSON; balances in minor units."""
    return {
        "id": account.id,
        "user_id": account.user_id,
        "asset": account.asset,
        "balance": account.balance,
        "held": account.held,
        "available": account.available,
        "min_balance": account.min_balance,
        "max_balance": account.max_balance,
        "status": account.status,
        "version": account.version,
        "metadata": account.metadata,
        "created_at": show_time(account.created_at),
        "updated_at": show_time(account.updated_at),
    }


def show_balance(account: Account) -> dict[str, Any]:
    """What an account holds now, in minor units."""
    return {
        "account_id": account.id,
        "asset": account.asset,
        "balance": account.balance,
        "held": account.held,
        "available": account.available,
        "version": account.version,
        "updated_at": show_time(account.updated_at),
    }


def show_entry(entry: Entry) -> dict[str, Any]:
    """The JSON of a line of a statement; amount and balance in minor units."""
    return {
        "version": entry.version,
        "transfer_id": entry.transfer_id,
        "kind": entry.kind,
        "direction": entry.direction,
        "amount": entry.amount,
        "balance": entry.balance,
        "held": entry.held,
        "other_account_id": entry.other_account_id,
        "asset": entry.asset,
        "reference": entry.reference,
        "metadata": entry.metadata,
        "created_at": show_time(entry.created_at),
    }


def show_transfer(transfer: Transfer) -> dict[str, Any]:
    """A transfer's JSON; amount and balances in minor units."""
    return {
        "id": transfer.id or None,  # a dry run has none
        "kind": transfer.kind,
        "status": transfer.status,
        "from_account_id": transfer.from_account_id,
        "to_account_id": transfer.to_account_id,
        "amount": transfer.amount,
        "asset": transfer.asset,
        "reference": transfer.reference,
        "metadata": transfer.metadata,
        "from_version": transfer.from_version,
        "to_version": transfer.to_version,
        "from_balance": transfer.from_balance,
        "to_balance": transfer.to_balance,
        "from_held": transfer.from_held,
        "created_at": show_time(transfer.created_at),
        "expires_at": _show_if(transfer.expires_at),
        "resolves_id": transfer.resolves_id,
        "resolved_by_id": transfer.resolved_by_id,
        "linked_id": transfer.linked_id,
    }


def show_event(event: Event) -> dict[str, Any]:
    """An event's JSON: `data` has the transfer as it was posted, or the account's settings as they were left."""
    subject = event.subject
    if isinstance(subject, Transfer):
        data = {"transfer": show_transfer(subject)}
    else:
        data = {
            "account": {
                "id": subject.account_id,
                "user_id": subject.user_id,
                "asset": subject.asset,
                "status": subject.status,
                "min_balance": subject.min_balance,
                "max_balance": subject.max_balance,
                "metadata": subject.metadata,
            }
        }
    return {"id": event.id, "type": event.type, "created_at": show_time(event.at), "data": data}


def show_webhook(webhook: Webhook) -> dict[str, Any]:
    """A webhook's JSON, without its secrets."""
    return {
        "id": webhook.id,
        "url": webhook.url,
        "types": None if webhook.types is None else list(webhook.types),
        "account_ids": None if webhook.account_ids is None else list(webhook.account_ids),
        "description": webhook.description,
        "status": webhook.status,
        "disabled_because": webhook.disabled_because,
        "position": webhook.cursor,
        "waiting": webhook.waiting,
        "dead": webhook.dead,
        "old_secret_until": _show_if(webhook.old_secret_until),
        "created_at": show_time(webhook.created_at),
        "updated_at": show_time(webhook.updated_at),
    }


def show_delivery(delivery: Delivery) -> dict[str, Any]:
    """The JSON of an event that a webhook has not taken."""
    return {
        "event_id": delivery.event_id,
        "type": delivery.event_type,
        "account_ids": list(delivery.account_ids),
        "status": delivery.status,
        "attempts": delivery.attempts,
        "next_attempt_at": _show_if(delivery.next_attempt_at),
        "last_attempt_at": _show_if(delivery.last_attempt_at),
        "last_problem": delivery.last_problem,
        "died_at": _show_if(delivery.died_at),
    }


def show_ledger(ledger: Ledger) -> dict[str, Any]:
    """A ledger's JSON."""
    return {"id": ledger.id, "name": ledger.name, "created_at": show_time(ledger.created_at)}


def show_seal(seal: Seal) -> dict[str, Any]:
    """A seal's JSON; hashes in hexadecimal."""
    return {
        "ledger_id": seal.ledger_id,
        "number": seal.number,
        "first_id": seal.first_id,
        "last_id": seal.last_id,
        "transfers": seal.transfers,
        "rows_hash": seal.rows_hash.hex(),
        "sealed_at": show_time(seal.sealed_at),
        "previous_hash": None if seal.previous_hash is None else seal.previous_hash.hex(),
        "hash": seal.hash.hex(),
    }


def show_key(key: ApiKey) -> dict[str, Any]:
    """A key's JSON: everything but its secret, which nobody has."""
    return {
        "id": key.id,
        "ledger": key.ledger,
        "name": key.name,
        "scopes": list(key.scopes),
        "debit_accounts": None if key.debit_accounts is None else list(key.debit_accounts),
        "rate_per_s": key.rate_per_s,
        "burst": key.burst,
        "created_at": show_time(key.created_at),
        "expires_at": _show_if(key.expires_at),
        "last_used_at": _show_if(key.last_used_at),
        "revoked_at": _show_if(key.revoked_at),
        "replaced_by": key.replaced_by,
    }


def show_service(service: Service) -> dict[str, Any]:
    """A service's JSON."""
    return {"service": service.name, "instances": service.instances}


def show_instance(instance: Instance) -> dict[str, Any]:
    """The JSON of an instance. What is left of its lease is rounded down, so that nobody believes in it for too long."""
    return {
        "service": instance.service,
        "id": instance.id,
        "address": instance.address,
        "metadata": instance.metadata,
        "lease_s": instance.lease_s,
        "registered_at": show_time(instance.registered_at),
        "expires_at": show_time(instance.expires_at),
        "expires_in_ms": max(int(instance.left_s * 1000), 0),
    }


def _show_if(moment: datetime | None) -> str | None:
    return None if moment is None else show_time(moment)
