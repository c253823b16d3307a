"""Progress where nobody knows how much there is."""

from __future__ import annotations

import io
from itertools import count

from service.commands.progress import QUIET_S, Progress, and_bytes


class Terminal(io.StringIO):
    """One that is looked at."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_without_a_total_there_is_no_bar() -> None:
    """What is counted is told all the same, by its name."""
    out, readings = Terminal(), count(0, QUIET_S)
    progress = Progress(lambda: 0, out, lambda: float(next(readings)), show=and_bytes("lines"))
    progress.add(12_000, 2_500_000)
    progress.clear()
    assert out.getvalue() == "\r\x1b[K12000 lines, 2 MB\r\x1b[K"
