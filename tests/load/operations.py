"""What a client of ledgerd does: each operation a request or two, told by name in the reports, its answer looked at."""

from __future__ import annotations

import random
import uuid
from typing import Any

from locust import events
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from tests.load import world

REFUSED = ", refused"  # after the name of an operation that the service was too busy for, or that was one too many
TOO_MANY, OVERLOADED = 429, 503


@events.test_start.add_listener
def _open(environment: Environment, **_: Any) -> None:
    world.open_world(environment)


class Client(FastHttpUser):
    """One user on one connection. `ask` is all that speaks HTTP."""

    abstract = True
    network_timeout = connection_timeout = 35.0  # ledgerd ends a request after 30

    def ask(
        self, name: str, method: str, path: str, body: object = None,
        *, expected: int = 200, refusable: bool = False, **headers: str,
    ) -> dict[str, Any] | None:
        """The answer's JSON, or None where it is not as expected, which counts as a failure.

        Where the operation is `refusable`, 429 and 503 with Retry-After are an answer like another, under a name of their own.
        """
        named = world.HEADERS | {key.replace("_", "-"): value for key, value in headers.items()}
        with self.client.request(method, path, json=body, headers=named, name=name, catch_response=True) as answer:
            if answer.status_code == expected:
                answer.success()
                found: dict[str, Any] = answer.json()
                return found
            if refusable and answer.status_code in {TOO_MANY, OVERLOADED} and answer.headers.get("Retry-After"):
                answer.request_meta["name"] = name + REFUSED
                answer.success()
            else:
                answer.failure(f"{answer.status_code} instead of {expected}: {(answer.text or '')[:120]}")
        return None

    def transfer(self, source: int, target: int, *, refusable: bool = False, **more: object) -> dict[str, Any] | None:
        """A transfer with a key, as whoever cannot afford to do it twice sends it."""
        body = {"from_account_id": source, "to_account_id": target, "amount": random.randint(1, 500), **more}
        key = str(uuid.uuid4())
        asked = ("post a transfer", "POST", "/api/transfers", body)
        return self.ask(*asked, expected=201, refusable=refusable, Idempotency_Key=key)

    def read_user(self) -> None:
        """One of the users."""
        self.ask("read a user", "GET", f"/api/users/{random.choice(world.users)}")

    def read_balance(self, account: int) -> None:
        """Of that account."""
        self.ask("read a balance", "GET", f"/api/accounts/{account}/balance")

    def read_statement(self, account: int) -> None:
        """The last page of it, and the one before where there is one."""
        page = self.ask("read a statement", "GET", f"/api/accounts/{account}/entries?limit=20")
        if page and (cursor := page.get("next_cursor")):
            self.ask("read a statement, next page", "GET", f"/api/accounts/{account}/entries?limit=20&cursor={cursor}")

    def hold_and_resolve(self) -> None:
        """Set an amount aside; then capture it, or one time in four give it back."""
        source, target = world.pair()
        body = {"from_account_id": source, "to_account_id": target, "amount": random.randint(1, 500), "hold": True}
        held = self.ask("hold", "POST", "/api/transfers", body, expected=201, Idempotency_Key=str(uuid.uuid4()))
        if held is not None:
            what = random.choice(("capture", "capture", "capture", "release"))
            self.ask(what, "POST", f"/api/transfers/{held['id']}/{what}", {}, expected=201, Idempotency_Key=str(uuid.uuid4()))

    def post_bulk(self, number: int) -> None:
        """So many transfers in one request, each on its own."""
        made = []
        for _ in range(number):
            source, target = world.pair()
            made.append({"from_account_id": source, "to_account_id": target, "amount": random.randint(1, 500)})
        name = f"post {number} in bulk"
        self.ask(name, "POST", "/api/transfers/bulk", {"transfers": made}, Idempotency_Key=str(uuid.uuid4()))
