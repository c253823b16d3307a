"""How each tool starts: as root, on a host with systemd, alone; and how it says why it could not go on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from host.bundle import OLDEST_PYTHON
from host.layout import Refused, one_at_a_time


def say(text: str) -> None:
    """Tell the operator what happens now."""
    print(text, flush=True)


def run_tool(name: str, work: Callable[[], None]) -> int:
    """Do the work; returns the exit status: 0 done, 1 refused or failed, with the reason on standard error."""
    os.umask(0o022)  # whatever root's is: ledgerd's user must be able to read what is made here
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        _check_host(name)
        with one_at_a_time():
            work()
    except Refused as reason:
        print(f"{name}: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 1
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """As Ctrl-C: what was begun is undone. A terminal that is gone must not leave a release half done."""
    raise KeyboardInterrupt


def _check_host(name: str) -> None:
    if sys.version_info[:2] < OLDEST_PYTHON:
        raise Refused(f"ledgerd needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    if os.geteuid() != 0:
        raise Refused(f"only root can do this: sudo deploy/{name}")
    if not Path("/run/systemd/system").is_dir():
        raise Refused("systemd does not run here. To try ledgerd without it: make run")
