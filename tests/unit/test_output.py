"""Standard error never makes a process wait."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.telemetry.output import Output

LINE = b"x" * 1000 + b"\n"
MOST = 2000  # lines, far above what a pipe or a socket holds


@dataclass
class Ends:
    """An output, the descriptor that it was made of, and the one that reads from it."""

    output: Output
    written: int
    read: int


@pytest.fixture(params=["pipe", "socket"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """Of a pipe, and of a socket as journald's."""
    if request.param == "pipe":
        read_end, write_end = os.pipe()
    else:
        read_end, write_end = (end.detach() for end in socket.socketpair())
    output = Output(write_end)
    yield Ends(output, write_end, read_end)
    output.close()
    os.close(read_end)
    os.close(write_end)


def fill(output: Output) -> int:
    """Write until a line is dropped; how many came through."""
    for number in range(MOST):
        output.write(LINE)
        if output.dropped:
            return number
    raise AssertionError("it takes any number of lines")


def read_all(fd: int, length: int) -> bytes:
    """The next `length` bytes."""
    data = b""
    while len(data) < length:
        data += os.read(fd, 65_536)
    return data


def test_a_reader_that_stands_still_costs_lines_and_no_time(ends: Ends) -> None:
    """What has no room is dropped and counted, and it goes on when there is room again; lines are whole."""
    output = ends.output
    written = fill(output)
    output.write(LINE)
    assert output.dropped == 2
    assert read_all(ends.read, written * len(LINE)) == LINE * written
    output.write(LINE)
    assert output.dropped == 2
    assert read_all(ends.read, len(LINE)) == LINE


def test_the_descriptor_of_the_others_stays_as_it_is(ends: Ends) -> None:
    """Other processes write to the same open file, and may not expect that it does not wait."""
    ends.output.write(LINE)
    assert not fcntl.fcntl(ends.written, fcntl.F_GETFL) & os.O_NONBLOCK


def test_a_reader_that_is_gone_costs_lines(ends: Ends) -> None:
    """Nothing is raised."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, ends.read)  # closes the reading end; its number stays in use
    os.close(nothing)
    ends.output.write(LINE)
    assert ends.output.dropped == 1


def test_a_line_that_was_torn_does_not_spoil_the_next() -> None:
    """A long one may be cut by a full pipe; the next one begins after a line break."""
    read_end, write_end = os.pipe()
    capacity = fcntl.fcntl(write_end, fcntl.F_GETPIPE_SZ)
    output = Output(write_end)
    output.write(b"y" * 2 * capacity + b"\n")
    assert output.dropped == 1
    assert read_all(read_end, capacity) == b"y" * capacity
    output.write(LINE)
    assert os.read(read_end, capacity) == b"\n" + LINE
    output.close()
    os.close(read_end)
    os.close(write_end)


def test_a_file_gets_every_line(tmp_path: Path) -> None:
    """In their order."""
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    output = Output(fd)
    for number in range(MOST):
        output.write(b"%d\n" % number)
    output.close()
    os.close(fd)
    assert (tmp_path / "log").read_bytes() == b"".join(b"%d\n" % number for number in range(MOST))
