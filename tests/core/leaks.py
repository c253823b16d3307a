"""What a piece of code left behind: threads, greenlets, processes and open descriptors."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 5.0  # a thread that was joined, or that ends by itself, may need a moment


@dataclass(frozen=True)
class Snapshot:
    """What there is at a moment, each under a key that stays the same, with a description."""

    threads: dict[Any, str]
    greenlets: dict[Any, str]
    processes: dict[Any, str]
    descriptors: dict[Any, str]

    def left_behind(self, patience_s: float = PATIENCE_S) -> list[str]:
        """What is there now and was not then, after waiting up to `patience_s` for it to go."""
        end = time.monotonic() + patience_s
        while (left := self._new()) and time.monotonic() < end:
            threading.Event().wait(0.002)
            gc.collect()
        return left

    def _new(self) -> list[str]:
        now = snapshot()
        kinds = {"thread": "threads", "greenlet": "greenlets", "process": "processes", "descriptor": "descriptors"}
        return [
            f"{kind} {what}"
            for kind, attribute in kinds.items()
            for key, what in getattr(now, attribute).items()
            if key not in getattr(self, attribute)
        ]


def snapshot() -> Snapshot:
    """What there is now."""
    return Snapshot(
        {(thread.ident, thread.name): thread.name for thread in threading.enumerate()},  # a new one may get an old number
        {id(greenlet): repr(greenlet) for greenlet in _greenlets()},
        _children(),
        _descriptors(),
    )


def _greenlets() -> list[Any]:
    module = sys.modules.get("greenlet")
    if module is None:
        return []
    found = [thing for thing in gc.get_objects() if isinstance(thing, module.greenlet)]
    return [thing for thing in found if thing and thing.parent is not None]  # the root of a thread is not a task


def _children() -> dict[Any, str]:
    pids = set[str]()
    for file in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            pids.update(file.read_text().split())
    return {pid: f"{pid} {_command(pid)}" for pid in pids}


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return "which has just ended"


def _descriptors() -> dict[Any, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name, target] = f"{name} of {target}" if (target := os.readlink(f"/proc/self/fd/{name}")) else name
        except OSError:  # the one that lists the folder
            continue
    return found
