"""WATCHDOG=1 comes as long as somebody serves, and only then."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.server.web import Web
from tests.serving import wait_until

pytestmark = pytest.mark.slow

WATCHDOG = {"WATCHDOG_USEC": "2000000"}


def pings(web: Web, number: int) -> None:
    """Wait for so many further pings."""
    seen = web.notify.count("WATCHDOG")
    wait_until(lambda: web.notify.count("WATCHDOG") >= seen + number, 20)


def silent(web: Web) -> bool:
    """Whether there is no ping for longer than systemd would wait."""
    seen = web.notify.count("WATCHDOG")
    try:
        wait_until(lambda: web.notify.count("WATCHDOG") > seen, 3)
    except AssertionError:
        return True
    return False


def test_the_watchdog_stops_with_the_last_worker(start: Callable[..., Web]) -> None:
    """One of two workers stands still: it goes on. Both do: it stops. One moves again: it goes on."""
    web = start(**WATCHDOG).wait_ready()
    first, second = web.wait_workers(2)
    pings(web, 2)
    os.kill(first, signal.SIGSTOP)
    pings(web, 6)
    os.kill(second, signal.SIGSTOP)
    wait_until(lambda: silent(web), 30)
    os.kill(first, signal.SIGCONT)
    pings(web, 2)
    os.kill(second, signal.SIGCONT)


def test_the_watchdog_stops_with_the_arbiter(start: Callable[..., Web]) -> None:
    """Workers alone do not keep it going."""
    web = start(**WATCHDOG).wait_ready()
    pings(web, 2)
    web.signal(signal.SIGSTOP)
    assert silent(web)
    web.signal(signal.SIGCONT)
    pings(web, 2)


def test_without_a_watchdog_there_are_no_pings(start: Callable[..., Web]) -> None:
    """Nor where it is meant for another process."""
    web = start(WATCHDOG_USEC="200000", WATCHDOG_PID="1").wait_ready()
    assert silent(web)
    assert web.notify.count("WATCHDOG") == 0
