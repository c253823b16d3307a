"""Load from many simulated clients, with locust's page to watch: `pip install -e '.[load]'`, then

    LEDGERD_KEY=$(cat var/admin.key) locust -f tests/load/locustfile.py --host http://127.0.0.1:8080

locust patches the whole process when it is imported: nothing that pytest collects may import this file.
"""

from __future__ import annotations

import os
import random
import uuid

from locust import HttpUser, constant, events, task

ACCOUNTS = 100
accounts: list[int] = []
headers = {"Authorization": f"Bearer {os.environ.get('LEDGERD_KEY', '')}"}


@events.test_start.add_listener
def open_accounts(environment, **_):
    """Open the accounts that the clients transfer between."""
    import requests

    for _ in range(ACCOUNTS):
        reply = requests.post(
            f"{environment.host}/api/accounts", json={"asset": "USD/2", "min_balance": None}, headers=headers, timeout=30
        )
        reply.raise_for_status()
        accounts.append(reply.json()["id"])


class Client(HttpUser):
    """Posts keyed transfers and reads balances, one after the other."""

    wait_time = constant(0)

    @task(3)
    def transfer(self):
        """A transfer between two random accounts."""
        source, target = random.sample(accounts, 2)
        body = {"from_account_id": source, "to_account_id": target, "amount": random.randint(1, 500)}
        self.client.post("/api/transfers", json=body, headers={**headers, "Idempotency-Key": str(uuid.uuid4())})

    @task
    def balance(self):
        """The balance of a random account."""
        self.client.get(f"/api/accounts/{random.choice(accounts)}/balance", headers=headers, name="/api/accounts/ID/balance")
