"""What the ledger holds before generated requests come: enough that ids out of them meet something."""

from __future__ import annotations

from service.client import Client
from service.concurrency.context import Context

KEPT_ACCOUNTS = 4  # accounts 1 to 4 have no floor and stay open, so that transfers between them succeed
USERS = 4


def sow(ctx: Context, client: Client) -> None:
    """Users with accounts, as many again that may be changed, a transfer, and an instance of a service."""
    for number in range(1, USERS + 1):
        client.post(ctx, "/api/users", {"name": f"User {number}", "email": f"{number}@example.com"})
    for number in range(2 * KEPT_ACCOUNTS):
        client.post(ctx, "/api/accounts", {"asset": "USD/2", "user_id": number % USERS + 1, "min_balance": None})
    client.transfer(ctx, from_account_id=1, to_account_id=2, amount=5, asset="USD/2")
    client.call(ctx, "PUT", "/api/services/0/instances/0", {"address": "h:1", "lease_s": 3600})
