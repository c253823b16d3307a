"""What is examined: the settings, the database, and the host as this process sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.concurrency.primitives import monotonic
from service.config import Config
from service.control_group import CONTROL_GROUPS, PROCESSES
from service.doctor.kernel import adjtimex
from service.repository.inspection import Inspection


class NotExamined(Exception):
    """What an examination needs is not there; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`problems` are those of the settings; `no_database` says why there is none to look at.

    The clock, the folders of the kernel and how long a transaction may be open are fields, so that a test can turn them.
    """

    config: Config
    problems: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    inspection: Inspection | None = None
    no_database: str = "there is no database"
    wall_clock: Callable[[], float] = time.time
    steady_clock: Callable[[], float] = monotonic
    kernel_clock: Callable[[], int] = adjtimex
    processes: Path = PROCESSES
    control_groups: Path = CONTROL_GROUPS
    shared_memory: Path = Path("/dev/shm")  # noqa: S108  # nosec B108  # looked at, not written
    longest_transaction_s: float = 60.0

    @property
    def database(self) -> Inspection:
        """The database, connected. Raises NotExamined where there is no connection."""
        if self.inspection is None:
            raise NotExamined(self.no_database)
        if not self.inspection.is_connected:
            raise NotExamined("there is no connection to the database")
        return self.inspection
