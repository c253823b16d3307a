"""How much memory processes take while something is done to them."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EVERY_S = 1.0
WARM = 0.2  # of the samples: caches fill, pools open
MOST_GROWTH = 0.10
GRACE_MIB = 2.0  # an allocator gives back in pieces


def resident_mib(pid: int) -> float:
    """What the process has in memory now, shared pages included (VmRSS). Raises OSError when it is gone."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


class Watched:
    """Looks at the processes every second in a `with` block, in a thread of its own."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.samples: dict[int, list[float]] = {pid: [] for pid in pids}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while True:
            for pid, samples in self.samples.items():
                try:
                    samples.append(resident_mib(pid))
                except OSError:  # another worker has taken its place, which is told by how few samples there are
                    continue
            if self._ended.wait(EVERY_S):
                return

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._ended.set()
        self._thread.join()

    def grown(self) -> list[str]:
        """A sentence for each process that took over a tenth more at the end than after it was warm."""
        found = []
        for pid, samples in self.samples.items():
            begin, end = warm_and_end(samples)
            if end > begin * (1 + MOST_GROWTH) + GRACE_MIB:
                found.append(f"process {pid} grew from {begin:.1f} to {end:.1f} MiB")
        return found

    def __str__(self) -> str:
        parts = []
        for pid, samples in self.samples.items():
            begin, end = warm_and_end(samples)
            parts.append(f"process {pid}: {samples[0]:.1f} MiB at first, {begin:.1f} when warm, {end:.1f} at the end")
        return "\n".join(parts)


def warm_and_end(samples: Sequence[float]) -> tuple[float, float]:
    """What it took after WARM of the time, and at the end."""
    return samples[int(len(samples) * WARM)], samples[-1]
