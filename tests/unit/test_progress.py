"""Progress is told on a terminal, and nowhere else."""

from __future__ import annotations

import io

import pytest

from service.commands import progress
from service.commands.progress import Progress


class Screen(io.StringIO):
    """A terminal, or none."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        """Whether it is one."""
        return self._is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_it_is_told_on_a_terminal_alone(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few times a second, and taken away at the end."""
    now = 0.0
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    out = Screen(is_terminal)
    told = Progress("lines", all_bytes=200, out=out)
    for step in range(1, 9):
        now, told.read_bytes = step / 8, 10 * step
        told.tell(1000 * step)
    told.end()
    assert out.getvalue().count("lines") == (4 if is_terminal else 0)
    assert ("8,000 lines, 8,000/s, 40% read" in out.getvalue()) is is_terminal
    assert out.getvalue().endswith("\r\x1b[K" if is_terminal else "")
