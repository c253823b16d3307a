"""A ramp to overload: twice as many users in each step, every one at the same pace, until the service must refuse.

What it is judged by: whoever is refused is told so with Retry-After, nothing fails otherwise, and the last step does nearly as
much as the best one. The launcher gives the server a short queue, so that refusing begins where one machine can make the load.
Locust takes a core for a thousand requests a second, and a refusal waits for its client's turn as well: so its bound is wide
here, and tests/bench/overload.py measures refusals with a generator that costs less.
"""

from __future__ import annotations

import os
from typing import Any

from locust import LoadTestShape, constant_throughput, events, task
from locust.env import Environment

from tests.bench.pass_bounds import Step, broken_by_ramp
from tests.load import world
from tests.load.operations import REFUSED, Person

PER_S = float(os.environ.get("LOAD_PER_USER", "5"))
STEP_S = float(os.environ.get("LOAD_STEP_S", "10"))
STEPS = (10, 20, 40, 80, 160, 320)
LEAST_GOODPUT = 0.8  # of the best step; Locust itself slows down on the same cores
MOST_REFUSAL_MS = 500.0


class Ramp(LoadTestShape):
    """The steps, and what came of each. A step counts from a third of it on, when all its users are there."""

    def __init__(self) -> None:
        super().__init__()
        self.good = [0] * len(STEPS)
        self.failed = [0] * len(STEPS)
        self.refused_ms: list[list[float]] = [[] for _ in STEPS]

    def tick(self) -> tuple[int, float] | None:
        """How many users there are to be now, and how many may come a second."""
        number = int(self.get_run_time() / STEP_S)
        return None if number >= len(STEPS) else (STEPS[number], max(10.0, STEPS[number] / 2))

    def note(self, name: str, took_ms: float, failed: bool) -> None:
        """A request has ended."""
        number, within_s = divmod(self.get_run_time(), STEP_S)
        if number >= len(STEPS) or within_s < STEP_S / 3:
            return
        if failed:
            self.failed[int(number)] += 1
        elif name.endswith(REFUSED):
            self.refused_ms[int(number)].append(took_ms)
        else:
            self.good[int(number)] += 1

    def steps(self) -> list[Step]:
        """Those that were gone through."""
        seen = [
            Step(users, STEP_S * 2 / 3, good, tuple(refused), failed)
            for users, good, refused, failed in zip(STEPS, self.good, self.refused_ms, self.failed, strict=True)
        ]
        return [step for step in seen if step.good or step.refused_ms or step.failed]


@events.request.add_listener
def _note(name: str, response_time: float, exception: Exception | None, context: dict[str, Any], **_: Any) -> None:
    if (shape := context.get("shape")) is not None:
        shape.note(name, response_time, exception is not None)


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    shape = environment.shape_class
    assert isinstance(shape, Ramp)
    steps = shape.steps()
    print(f"\n{'users':>6} {'wanted/s':>9} {'done/s':>8} {'refused/s':>10} {'in ms':>7} {'failed':>7}")
    for step in steps:
        refused = len(step.refused_ms) / step.seconds
        wanted = step.users * PER_S
        print(f"{step.users:6} {wanted:9.0f} {step.goodput:8.0f} {refused:10.0f} {step.refusal_ms:7.1f} {step.failed:7}")
    world.judge(environment, {}, lambda: broken_by_ramp(steps, goodput=LEAST_GOODPUT, refusal_ms=MOST_REFUSAL_MS))


class Customer(Person):
    """Transfers, at a pace that does not wait for slow answers longer than it must."""

    wait_time = constant_throughput(PER_S)

    def context(self) -> dict[str, Any]:
        """The shape, for `_note`."""
        return {"shape": self.environment.shape_class}

    @task
    def pay(self) -> None:
        """One another."""
        self.transfer(*world.pair(), refusable=True)
