"""What workers tell their arbiter about themselves: one line each, over one pipe that all of them share.

A line is written at once and is shorter than PIPE_BUF, so lines of several workers never mix.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

LONGEST_REASON = 500  # characters; far below PIPE_BUF even when every one of them is escaped


@dataclass(frozen=True, slots=True)
class Report:
    """A worker has loaded the application, waits for what it needs, is up (it accepts connections), or failed; and why."""

    pid: int
    state: Literal["loaded", "waiting", "up", "failed"]
    reason: str = ""


class ReportPipe:
    """Made by the arbiter before the first fork; each side closes the end that it does not use."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._rest = b""

    def fileno(self) -> int:
        """The end to wait on."""
        return self._read_end

    def write(self, report: Report) -> None:
        """Tell the arbiter; nothing happens when it is gone, which the worker notices otherwise."""
        assert select.PIPE_BUF > LONGEST_REASON * 6 + 100
        line = json.dumps({**asdict(report), "reason": report.reason[:LONGEST_REASON]}) + "\n"
        with contextlib.suppress(BrokenPipeError):
            os.write(self._write_end, line.encode())

    def read(self) -> Iterator[Report]:
        """The reports since the last call."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._read_end, 65_536):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            yield Report(**json.loads(line))

    def leave_to_worker(self) -> None:
        """In a worker: only the arbiter reads, so that a write fails once it is gone."""
        os.close(self._read_end)
