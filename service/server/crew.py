"""What the arbiter knows of its workers: who is up, who still starts, who is to end, and how often a start has failed.

Only books and clocks: whoever asks does the forking and the killing. All times are of the monotonic clock, in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
MOST_DOUBLINGS = 60  # a float takes a thousand (as concurrency/backoff.py, which the arbiter may not load)
MOST_FAILURES = 3  # starts in a row that may fail while no worker is up


@dataclass(slots=True)
class Member:
    """One worker. `generation` counts reloads; `said` is what it told last about not being up."""

    pid: int
    generation: int
    started_at: float
    said: str = "it has not loaded the application yet"
    up: bool = False
    ends_since: float | None = None


@dataclass
class Crew:
    """The workers by process id."""

    boot_timeout_s: float
    generation: int = 0
    members: dict[int, Member] = field(default_factory=dict)
    failures: int = 0  # starts that failed since the last one that did not
    was_up: bool = False  # whether a worker has ever been up
    _pause_until: float = 0.0

    def add(self, pid: int, now: float) -> None:
        """A worker of the present generation was started."""
        self.members[pid] = Member(pid, self.generation, now)

    def up(self, pid: int) -> None:
        """It accepts connections."""
        self.members[pid].up = self.was_up = True
        self.failures = 0

    def remove(self, pid: int, now: float) -> Member | None:
        """It is gone; None when it was none of ours. Unless it was up or told to end, that counts as a failed start."""
        member = self.members.pop(pid, None)
        if member is not None and not member.up and member.ends_since is None:
            self.fail(now)
        return member

    def fail(self, now: float) -> None:
        """A start failed: the next one waits, twice as long each time, up to a bound."""
        self.failures += 1
        self._pause_until = now + min(FIRST_PAUSE_S * 2.0 ** min(self.failures - 1, MOST_DOUBLINGS), LONGEST_PAUSE_S)

    @property
    def staying(self) -> list[Member]:
        """The workers that are not to end, oldest first."""
        return [member for member in self.members.values() if member.ends_since is None]

    @property
    def serving(self) -> list[Member]:
        """Those of them that are up."""
        return [member for member in self.staying if member.up]

    @property
    def ready(self) -> bool:
        """Whether somebody serves and nobody still starts."""
        return bool(self.staying) and all(member.up for member in self.staying)

    @property
    def hopeless(self) -> bool:
        """Whether nobody serves and starting has failed too often."""
        return self.failures >= MOST_FAILURES and not self.serving

    def missing(self, wanted: int, now: float) -> int:
        """How many to start now."""
        return 0 if now < self._pause_until else max(wanted - len(self.staying), 0)

    def late(self, now: float) -> list[Member]:
        """Those that should have been up by now."""
        return [m for m in self.staying if not m.up and now - m.started_at > self.boot_timeout_s]
