"""What the control group of this process is allowed."""

from __future__ import annotations

import os
from pathlib import Path

PROCESSES, CONTROL_GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_UNBOUNDED = 1 << 60  # the first version of control groups says "no limit" with a number near 2^63


def usable_memory(processes: Path = PROCESSES, control_groups: Path = CONTROL_GROUPS) -> int:
    """Bytes of the host's memory, or fewer where the control group of this process is allowed less."""
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(installed, memory_limit(processes, control_groups) or installed)


def memory_limit(processes: Path, control_groups: Path) -> int | None:
    """Bytes that the control group of this process may use (systemd's MemoryMax=); None where there is no limit."""
    return least_limit(processes, control_groups, second="memory.max", first=("memory", "memory.limit_in_bytes"))


def least_limit(processes: Path, control_groups: Path, *, second: str, first: tuple[str, str]) -> int | None:
    """The lowest limit of this process's control group and those above it; None where there is none, or it cannot be read.

    `second` is the file's name in the second version of control groups (cgroups(7)), `first` controller and name in the first.
    """
    try:
        lines = (processes / "self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = control_groups, second
        elif first[0] in controllers.split(","):
            root, name = control_groups / first[0], first[1]
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            limits.append(_limit(folder / name))
            if folder == root:
                break
    found = [limit for limit in limits if limit is not None and limit < _UNBOUNDED]
    return min(found, default=None)


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text("utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None  # "max" is none
