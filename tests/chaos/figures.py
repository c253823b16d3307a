"""What a fault did to the clients, in figures: how long there were errors, and when service was back."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW_S = 0.5
STEP_S = 0.05
GOOD_SHARE = 0.99
LOWEST_PACE = 0.5  # a window with fewer answers than this share of the pace is not good


@dataclass
class Fault:
    """From when to when something was broken, on the monotonic clock."""

    begin: float
    end: float = 0.0


@dataclass(frozen=True)
class Figures:
    """Of one test; times are of its worst fault, in seconds."""

    faults: int
    errors_for_s: float  # from the first to the last 5xx or broken connection
    back_after_s: float  # from the end of the fault until 99 % of the answers, in every half second from then on, are good
    posted: int
    repeats: int
    unknown: int
    longest_s: float  # of a client's wait for a certain outcome
    connections: str = ""

    @classmethod
    def of(
        cls, faults: list[Fault], answers: list[tuple[float, bool]], rate: int,
        posted: int, repeats: int, unknown: int, longest_s: float,
    ) -> Figures:
        """From when each answer came and whether it was good."""
        answers = sorted(answers)
        ends = [fault.begin for fault in faults[1:]] + [answers[-1][0]]
        errors_for = back_after = 0.0
        for fault, end in zip(faults, ends, strict=True):
            part = [(at, ok) for at, ok in answers if fault.begin <= at <= end]
            bad = [at for at, ok in part if not ok]
            errors_for = max(errors_for, bad[-1] - bad[0] if bad else 0.0)
            back_after = max(back_after, _back_at(part, fault, end, rate) - fault.end)
        return cls(len(faults), errors_for, back_after, posted, repeats, unknown, longest_s)

    def row(self, name: str) -> str:
        """A line of the table in docs/performance.md."""
        return (
            f"| {name} | {self.faults} | {self.errors_for_s:.1f} s | {self.back_after_s:.1f} s | {self.connections} |"
            f" {self.posted:,} | {self.repeats:,} | {self.unknown:,} | {self.longest_s:.1f} s |"
        )


HEAD = (
    "| fault | times | errors for | back to 99 % | connections afterwards | posted | repeats | unknown | longest |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def _back_at(answers: list[tuple[float, bool]], fault: Fault, end: float, rate: int) -> float:
    """The earliest time, not before the fault's end, from which on every window is good."""
    back, at = fault.end, fault.begin
    while at + WINDOW_S <= end:
        window = [ok for when, ok in answers if at <= when < at + WINDOW_S]
        if len(window) < LOWEST_PACE * rate * WINDOW_S or window.count(True) < GOOD_SHARE * len(window):
            back = max(back, at + STEP_S)
        at += STEP_S
    return back
