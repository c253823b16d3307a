"""When a load passes: what each operation may take, and whether it did. Knows nothing of Locust, so tests can look at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf


@dataclass(frozen=True)
class Bound:
    """What an operation may take (ms), how much of it may fail (a share), and how much of it there must be (a second)."""

    p50_ms: float = 100
    p99_ms: float = 500
    failed: float = 0.0
    least_per_s: float = 0.1


def lenient(bounds: Mapping[str, Bound]) -> dict[str, Bound]:
    """The same without what depends on the machine: nothing may fail."""
    return {name: replace(bound, p50_ms=inf, p99_ms=inf, least_per_s=0) for name, bound in bounds.items()}


@dataclass(frozen=True)
class Operation:
    """What was measured of one."""

    number: int
    failed: int
    per_s: float
    p50_ms: float
    p99_ms: float


def broken(bounds: Mapping[str, Bound], measured: Mapping[str, Operation]) -> list[str]:
    """A sentence for each bound that was not kept; none where all were."""
    if not any(operation.number for operation in measured.values()):
        return ["no request was made"]
    found = []
    for name, bound in bounds.items():
        operation = measured.get(name, Operation(0, 0, 0.0, 0.0, 0.0))
        if operation.per_s < bound.least_per_s:
            found.append(f"{name}: {operation.per_s:.1f} a second are fewer than {bound.least_per_s:g}")
        if operation.number and operation.failed / operation.number > bound.failed:
            found.append(f"{name}: {operation.failed} of {operation.number} failed; the bound is {bound.failed:.1%}")
        for what, took, most in (("p50", operation.p50_ms, bound.p50_ms), ("p99", operation.p99_ms, bound.p99_ms)):
            if took > most:
                found.append(f"{name}: {what} of {took:.0f} ms is above {most:.0f} ms")
    return found


@dataclass(frozen=True)
class Step:
    """A stretch of a ramp: what was sent, what was done, how fast it was refused (ms), and what else went wrong; a second."""

    users: int
    seconds: float
    good: int
    refused_ms: tuple[float, ...]
    failed: int

    @property
    def goodput(self) -> float:
        """Requests a second that were done."""
        return self.good / self.seconds

    @property
    def refusal_ms(self) -> float:
        """The median time of a refusal; 0 where nothing was refused."""
        return sorted(self.refused_ms)[len(self.refused_ms) // 2] if self.refused_ms else 0.0


def broken_by_ramp(steps: Iterable[Step], *, goodput: float, refusal_ms: float) -> list[str]:
    """As `broken`: the last step must do the share `goodput` of the best one, refuse within `refusal_ms`, and fail nothing."""
    all_steps = list(steps)
    if len(all_steps) < 2:
        return ["the ramp had fewer than two steps"]
    best, last = max(step.goodput for step in all_steps), all_steps[-1]
    found = []
    if last.goodput < goodput * best:
        found.append(f"{last.users} users: {last.goodput:.0f} a second were done, less than {goodput:.0%} of {best:.0f}")
    if last.refusal_ms > refusal_ms:
        found.append(f"{last.users} users: refusals took {last.refusal_ms:.1f} ms, more than {refusal_ms:g}")
    return found + [f"{step.users} users: {step.failed} requests failed" for step in all_steps if step.failed]
