"""A hot account: everybody pays one shop, which looks at its balance and its statement meanwhile."""

from __future__ import annotations

import os
import random
from typing import Any

from locust import constant_throughput, events, task
from locust.env import Environment

from tests.bench.pass_bounds import Bound
from tests.load import world
from tests.load.operations import Person

PER_S = float(os.environ.get("LOAD_PER_USER", "4"))
BOUNDS = {
    "post a transfer": Bound(p99_ms=300, least_per_s=1),
    "read a balance": Bound(p99_ms=200),
    "read a statement": Bound(p99_ms=250),
}


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    world.judge(environment, BOUNDS)


class Payer(Person):
    """Pays the first account out of any other."""

    weight = 20
    wait_time = constant_throughput(PER_S)

    @task
    def pay(self) -> None:
        """The shop."""
        self.transfer(random.choice(world.accounts[1:]), world.accounts[0])


class Shop(Person):
    """Pays out, and looks at what has come in."""

    weight = 1
    wait_time = constant_throughput(PER_S)

    @task
    def look(self) -> None:
        """At both."""
        self.read_balance(world.accounts[0])
        self.read_statement(world.accounts[0])

    @task
    def pay_out(self) -> None:
        """To anybody."""
        self.transfer(world.accounts[0], random.choice(world.accounts[1:]))
