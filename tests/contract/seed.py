"""What the ledger holds before generated requests come: enough that ids out of them meet something."""

from __future__ import annotations

from tests.client import HttpClient

KEPT_ACCOUNTS = 4  # accounts 1 to 4 have no floor and stay open, so that transfers between them succeed
USERS = 4


def sow(client: HttpClient) -> None:
    """Users with accounts, as many again that may be changed, and a transfer."""
    for number in range(1, USERS + 1):
        _made(client, "/api/users", {"name": f"User {number}", "email": f"{number}@example.com"})
    for number in range(2 * KEPT_ACCOUNTS):
        _made(client, "/api/accounts", {"asset": "USD/2", "user_id": number % USERS + 1, "min_balance": None})
    _made(client, "/api/transfers", {"from_account_id": 1, "to_account_id": 2, "amount": 5, "asset": "USD/2"})


def _made(client: HttpClient, path: str, body: dict[str, object]) -> None:
    reply = client.call("POST", path, body)
    assert reply.status == 201, reply.body
