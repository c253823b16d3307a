"""Steady mixed traffic: customers who look at their account, pay, and look again; each at a pace of their own."""

from __future__ import annotations

import os
import random
from typing import Any

from locust import constant_throughput, events, task
from locust.env import Environment

from tests.bench.pass_bounds import Bound
from tests.load import world
from tests.load.operations import Person

PER_S = float(os.environ.get("LOAD_PER_USER", "4"))  # tasks that a user begins in a second
BOUNDS = {
    "post a transfer": Bound(p99_ms=250, least_per_s=1),
    "read a user": Bound(p50_ms=50, p99_ms=150, least_per_s=1),
    "read a balance": Bound(p99_ms=200, least_per_s=1),
    "read a statement": Bound(p99_ms=250),
    "hold": Bound(p99_ms=250),
    "capture": Bound(p99_ms=250),
}


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    world.judge(environment, BOUNDS)


class Customer(Person):
    """Half of what it does writes."""

    wait_time = constant_throughput(PER_S)

    def on_start(self) -> None:
        """Each has an account of its own among all."""
        self.account = random.choice(world.accounts)

    @task(8)
    def pay(self) -> None:
        """Somebody else."""
        target = random.choice([account for account in world.accounts if account != self.account])
        self.transfer(self.account, target)

    @task(4)
    def look_at_user(self) -> None:
        """Its own name, or another's."""
        self.read_user()

    @task(4)
    def look_at_balance(self) -> None:
        """Of its own account."""
        self.read_balance(self.account)

    @task(2)
    def look_at_statement(self) -> None:
        """Of its own account."""
        self.read_statement(self.account)

    @task(1)
    def reserve(self) -> None:
        """As a shop does."""
        self.hold_and_resolve()
