"""What a request costs on either side, out of many measurements, and whether the change costs more."""

from __future__ import annotations

from dataclasses import dataclass, field

NOTHING_US = 5  # less is no work for the request, such as PostgreSQL's where it is not asked


@dataclass
class Measurements:
    """By case: the microseconds of processor time that each request took."""

    us: dict[str, list[float]] = field(default_factory=dict)

    def keep(self, what: str, us: float) -> None:
        """Take a further measurement in."""
        self.us.setdefault(what, []).append(us)

    def cost(self, what: str) -> float:
        """A quarter of the measurements is below it: of the lower half, which other work disturbs least, the middle."""
        found = sorted(self.us[what])
        return found[len(found) // 4]


def ratios(parent: Measurements, change: Measurements) -> dict[str, float]:
    """By case: how many times its parent's cost the change has."""
    return {what: change.cost(what) / parent.cost(what) for what in parent.us if parent.cost(what) >= NOTHING_US}


def too_dear(parent: Measurements, change: Measurements, bound: float) -> dict[str, float]:
    """The ratios above the bound."""
    return {what: ratio for what, ratio in ratios(parent, change).items() if ratio > bound}


def accepted(messages: str) -> dict[str, str]:
    """The cases that commit messages say are dearer on purpose, with the reason: a line `Dearer: CASE: REASON`."""
    parts = [line.removeprefix("Dearer: ").partition(": ") for line in messages.splitlines() if line.startswith("Dearer: ")]
    return {what: reason for what, _, reason in parts if reason}


def table(parent: Measurements, change: Measurements) -> str:
    """A line a case."""
    lines = [f"{'processor time a request, µs':44} {'parent':>9} {'change':>9} {'ratio':>6}  of"]
    for what, ratio in ratios(parent, change).items():
        lines.append(f"{what:44} {parent.cost(what):9.1f} {change.cost(what):9.1f} {ratio:6.2f}  {len(change.us[what])}")
    return "\n".join(lines)
