"""What the kernel says about this process: how its clock is kept, and what its control group is allowed."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256  # above the size of struct timex; `modes`, its beginning, is 0 and so nothing is set
_UNBOUNDED = 1 << 60  # the first version of control groups says "no limit" with a number near 2^63


def adjtimex() -> int:
    """The kernel clock's state as adjtimex(2) returns it; a negative errno where it does not say."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        state: int = libc.adjtimex(timex)
    except AttributeError:
        return -errno.ENOSYS
    return state if state >= 0 else -ctypes.get_errno()


def least_limit(processes: Path, control_groups: Path, *, second: str, first: tuple[str, str]) -> int | None:
    """The lowest limit of this process's control group and those above it; None where there is none, or it cannot be read.

    `second` is the file's name in the second version of control groups (cgroups(7)), `first` controller and name in the first.
    """
    limits = []
    for line in (processes / "self/cgroup").read_text("utf-8").splitlines():
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
