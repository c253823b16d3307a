"""Clocks that are wrong: the host's is injected, the database's is real."""

from __future__ import annotations

import errno
import time

import pytest

from service.config import Config
from service.doctor import clock
from service.doctor.kernel import TIME_ERROR, adjtimex
from service.doctor.subject import Subject
from service.doctor.verdict import State
from tests.doctor.conftest import Look, ask
from tests.proxy import Proxy


@pytest.mark.parametrize(
    ("ahead_s", "state", "words"),
    [
        (0, State.OK, "the host is 0.0"), (3, State.WARNING, "ahead of"), (-3, State.WARNING, "behind"),
        (60, State.PROBLEM, "ahead of"), (-60, State.PROBLEM, "behind"),
    ],
)  # fmt: skip
def test_a_host_clock_that_is_wrong(look: Look, database_url: str, ahead_s: float, state: State, words: str) -> None:
    """A second is a warning, five are a problem, on either side."""
    (verdict,) = look(clock.skew, database_url, wall_clock=lambda: time.time() + ahead_s)
    assert verdict.state is state
    assert words in verdict.detail


def test_a_long_round_trip_is_no_skew(look: Look, database_url: str) -> None:
    """Four tenths of a second each way: the clocks agree as far as can be told, and the doubt is told."""
    with Proxy(database_url) as proxy:
        proxy.latency_s = 0.4
        (verdict,) = look(clock.skew, proxy.url)
    assert verdict.state is State.OK
    assert float(verdict.detail.partition("±")[2].split()[0]) >= 390


@pytest.mark.parametrize(
    ("kernel", "state", "words"),
    [
        (0, State.OK, "synchronised"), (TIME_ERROR, State.WARNING, "not synchronised"),
        (-errno.EPERM, State.WARNING, "not permitted"),
    ],
)
def test_what_the_kernel_says_of_its_clock(kernel: int, state: State, words: str) -> None:
    """Synchronised, not, or it does not tell."""
    (verdict,) = ask(clock.synchronised, Subject(config=Config(), kernel_clock=lambda: kernel))
    assert verdict.state is state
    assert words in verdict.detail


def test_the_kernel_is_really_asked() -> None:
    """A state from 0 (TIME_OK) to 5 (TIME_ERROR), or a reason."""
    assert adjtimex() in {*range(TIME_ERROR + 1), -errno.EPERM, -errno.ENOSYS}


def test_a_wall_clock_that_jumps_is_a_warning() -> None:
    """As when somebody sets it."""
    readings = iter([1000.0, 1030.0])
    (verdict,) = ask(clock.even, Subject(config=Config(), wall_clock=lambda: next(readings)))
    assert verdict.state is State.WARNING
    assert "jumped by +29." in verdict.detail


def test_a_steady_clock_that_stands_is_a_problem() -> None:
    """No deadline would ever come."""
    (verdict,) = ask(clock.even, Subject(config=Config(), steady_clock=lambda: 7.0))
    assert verdict.state is State.PROBLEM


def test_good_clocks_are_ok() -> None:
    """This machine's."""
    (verdict,) = ask(clock.even, Subject(config=Config()))
    assert verdict.state is State.OK
