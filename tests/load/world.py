"""What the clients of a load work with: users and accounts, opened when it begins; and how it is judged when it ends."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

from locust.env import Environment

from service.client import Client
from service.concurrency.context import background
from tests.bench.pass_bounds import Bound, Operation, broken, lenient

USERS, ACCOUNTS = 50, 200
KEY = os.environ.get("LEDGERD_KEY", "")

users: list[int] = []
accounts: list[int] = []


def open_world(environment: Environment) -> None:
    """Make USERS and ACCOUNTS, once a process. Raises the error that the server answers, such as that the key may not."""
    if accounts:
        return
    run = os.urandom(4).hex()
    with Client(environment.host, KEY) as client:

        def make(path: str, body: dict[str, object]) -> int:
            return int(client.post(background(), path, body)["id"])

        users.extend(make("/api/users", {"name": f"Ada {n}", "email": f"ada{n}.{run}@example.com"}) for n in range(USERS))
        account = {"asset": "USD/2", "min_balance": None}
        accounts.extend(make("/api/accounts", account | {"user_id": users[n % USERS]}) for n in range(ACCOUNTS))


def pair() -> tuple[int, int]:
    """Two different accounts."""
    source, target = random.sample(accounts, 2)
    return source, target


def measured(environment: Environment) -> dict[str, Operation]:
    """By operation, what Locust's statistics say."""
    return {
        name: Operation(
            number=entry.num_requests, failed=entry.num_failures, per_s=entry.total_rps,
            p50_ms=entry.get_response_time_percentile(0.5) or 0, p99_ms=entry.get_response_time_percentile(0.99) or 0,
        )
        for (name, _), entry in environment.stats.entries.items()
    }


def judge(environment: Environment, bounds: dict[str, Bound], more: Callable[[], list[str]] = list) -> None:
    """Print what was not kept, and set the exit status. With LOAD_LENIENT no time counts, and nothing of `more`."""
    if os.environ.get("LOAD_LENIENT"):
        bounds, more = lenient(bounds), list
    found = broken(bounds, measured(environment)) + more()
    print("\n".join(["", *found, f"{len(found)} bounds were not kept" if found else "all bounds were kept"]))
    environment.process_exit_code = int(bool(found))
