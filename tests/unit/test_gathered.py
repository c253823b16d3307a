"""Lines of requests are written together, in their order, soon, and none is lost at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from select import PIPE_BUF

import pytest

from service.telemetry import gathered
from service.telemetry.gathered import Gathered
from tests.serving import wait_until
from tests.unit.test_log_lines import Lines

LINE = b"x" * 99 + b"\n"


class Writes(Lines):
    """It also tells what was written at once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes: list[bytes] = []
        send = self.output.write
        self.output.write = lambda lines: (self.writes.append(lines), send(lines))[1]  # type: ignore[method-assign]


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Writes]:
    """Where they go."""
    made = Writes(tmp_path / "log")
    yield made
    made.output.close()


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time at which lines are written anyhow is far away."""
    monkeypatch.setattr(gathered, "WITHIN_S", 3600.0)


@pytest.mark.usefixtures("late")
def test_lines_are_written_as_many_as_a_pipe_takes_whole(lines: Writes) -> None:
    """Not one by one, and never more than that."""
    log = Gathered(lines.output)
    for _ in range(PIPE_BUF // len(LINE)):
        log.write(LINE)
    assert lines.writes == []
    log.write(LINE)
    assert lines.writes == [LINE * (PIPE_BUF // len(LINE))]
    log.close()
    assert lines.writes[1:] == [LINE]


@pytest.mark.usefixtures("late")
def test_a_long_line_goes_by_itself(lines: Writes) -> None:
    """After those before it."""
    log, long = Gathered(lines.output), b"y" * PIPE_BUF + b"\n"
    log.write(LINE)
    log.write(long)
    log.write(LINE)
    log.close()
    assert lines.writes == [LINE, long, LINE]


def test_a_lone_line_comes_soon(lines: Writes) -> None:
    """Without another one, and so does the next."""
    log = Gathered(lines.output)
    for number in (1, 2):
        log.write(LINE)
        wait_until(lambda number=number: len(lines.writes) == number, 10)  # type: ignore[misc]
    log.close()
    assert lines.writes == [LINE, LINE]


@pytest.mark.usefixtures("late")
def test_nothing_is_left_after_the_end(lines: Writes) -> None:
    """Closing with nothing to write, twice, and with lines."""
    log = Gathered(lines.output)
    log.close()
    log.write(LINE)
    log.close()
    log.close()
    assert lines.writes == [LINE]
