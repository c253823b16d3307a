"""What a client of ledgerd does: each operation a request or two, told by name in the reports, its answer looked at."""

from __future__ import annotations

import random
from time import perf_counter
from typing import Any

from locust import User, events
from locust.env import Environment

from service.client import Client
from service.concurrency.context import background
from service.errors import LedgerdError, Overloaded, RateLimited, Unavailable
from tests.load import world

REFUSED = ", refused"  # after the name of an operation that the service was too busy for, or that was one too many
TIMEOUT_S = 35.0  # ledgerd ends a request after 30


@events.test_start.add_listener
def _open(environment: Environment, **_: Any) -> None:
    world.open_world(environment)


class Person(User):
    """One user on one connection. `ask` is all that speaks HTTP; nothing is sent again, so that each answer is counted."""

    abstract = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._client = Client(environment.host, world.KEY, timeout_s=TIMEOUT_S, attempts=1, connections=1)

    def on_stop(self) -> None:
        """Close the connection."""
        self._client.close()

    def context(self) -> dict[str, Any]:
        """What listeners are told beside each request."""
        return {}

    def ask(
        self, name: str, method: str, path: str, body: object = None, *, expected: int = 200, refusable: bool = False
    ) -> dict[str, Any] | None:
        """The answer's JSON, or None where it is not as expected, which counts as a failure.

        Where the operation is `refusable`, 429 and 503 with Retry-After are an answer like another, under a name of their own.
        """
        began, length, found, failure = perf_counter(), 0, None, None
        try:
            reply = self._client.call(background(), method, path, body)
            length, found = len(reply.body), reply.json
            if reply.status != expected:
                found, failure = None, AssertionError(f"{reply.status} instead of {expected}")
        except LedgerdError as error:
            if refusable and isinstance(error, RateLimited | Overloaded | Unavailable) and error.retry_after_s is not None:
                name += REFUSED
            else:
                failure = error
        self.environment.events.request.fire(
            request_type=method, name=name, response_time=(perf_counter() - began) * 1000, response_length=length,
            exception=failure, context=self.context(),
        )
        return found

    def transfer(self, source: int, target: int, *, refusable: bool = False, **more: object) -> dict[str, Any] | None:
        """A transfer, with a key that the client makes."""
        body = {"from_account_id": source, "to_account_id": target, "amount": random.randint(1, 500), **more}
        return self.ask("post a transfer", "POST", "/api/transfers", body, expected=201, refusable=refusable)

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
        held = self.ask("hold", "POST", "/api/transfers", body, expected=201)
        if held is not None:
            what = random.choice(("capture", "capture", "capture", "release"))
            self.ask(what, "POST", f"/api/transfers/{held['id']}/{what}", {}, expected=201)

    def post_bulk(self, number: int) -> None:
        """So many transfers in one request, each on its own."""
        made = []
        for _ in range(number):
            source, target = world.pair()
            made.append({"from_account_id": source, "to_account_id": target, "amount": random.randint(1, 500)})
        name = f"post {number} in bulk"
        self.ask(name, "POST", "/api/transfers/bulk", {"transfers": made})
