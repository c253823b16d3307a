"""The kinds of load that both programs get."""

from __future__ import annotations

from dataclasses import dataclass

from tests.bench.compare.programs import Program


@dataclass(frozen=True)
class Scenario:
    """One kind of load: how many of a hundred requests are reads of a user, and between which accounts transfers are made."""

    what: str
    reads: int = 0
    pick: str = "uniform"
    keyed: bool = False
    connections: int | None = None  # as many as --connections says

    def environment(self, program: Program, seed: int) -> dict[str, str]:
        """For load.lua."""
        return program.environment | {
            "READS": str(self.reads), "PICK": self.pick, "KEYED": str(int(self.keyed)), "SEED": str(seed),
        }


SCENARIOS = {
    "uniform": Scenario("transfers among all accounts"),
    "keyed": Scenario("the same, each with an Idempotency-Key, which the peer does not look at", keyed=True),
    "hot": Scenario("transfers, all debits on one account", pick="hot"),
    "zipf": Scenario("transfers, the n-th account with a weight of n^-0.99", pick="zipf"),
    "users": Scenario("reads of a user", reads=100),
    "mixed": Scenario("half reads of users, half transfers", reads=50),
    "single": Scenario("transfers, one client alone", connections=1),
    "single-users": Scenario("reads of a user, one client alone", reads=100, connections=1),
}


def bounds(text: str) -> dict[str, float]:
    """`uniform=1.5,users=1` as numbers. Raises ValueError for anything else, as argparse wants it."""
    found = {name: float(value) for name, _, value in (part.partition("=") for part in text.split(",") if part)}
    if unknown := found.keys() - SCENARIOS.keys():
        raise ValueError(unknown)
    return found
