"""Bulk work beside customers: two who post 500 in a request, over and over, while others transfer one by one."""

from __future__ import annotations

import os
from typing import Any

from locust import constant_pacing, constant_throughput, events, task
from locust.env import Environment

from tests.bench.pass_bounds import Bound
from tests.load import world
from tests.load.operations import Person

PER_S = float(os.environ.get("LOAD_PER_USER", "4"))
IN_BULK = 500
BULK_EVERY_S = 0.5
BOUNDS = {
    "post a transfer": Bound(p50_ms=150, p99_ms=600, least_per_s=1),
    f"post {IN_BULK} in bulk": Bound(p50_ms=1_000, p99_ms=4_000),
    "read a balance": Bound(p99_ms=400),
}


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    world.judge(environment, BOUNDS)


class Bulk(Person):
    """Two of them, whatever the number of users."""

    fixed_count = 2
    wait_time = constant_pacing(BULK_EVERY_S)

    @task
    def post(self) -> None:
        """Each on its own, so a refusal of one would not undo the others."""
        self.post_bulk(IN_BULK)


class Customer(Person):
    """Those who must not feel it."""

    wait_time = constant_throughput(PER_S)

    @task(3)
    def pay(self) -> None:
        """One another."""
        self.transfer(*world.pair())

    @task
    def look(self) -> None:
        """At a balance."""
        self.read_balance(world.pair()[0])
