"""A process beside the web server: started again with growing pauses, and gone at the end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from service.server import companion
from service.server.companion import Companion
from tests.serving import clean_env, is_there, wait_until


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody waits for seconds."""
    monkeypatch.setattr(companion, "FIRST_PAUSE_S", 0.01)


def test_one_that_cannot_start_is_tried_again_ever_more_seldom() -> None:
    """Each time it says with what status it ended, and how long it waits."""
    said: list[str] = []
    child = Companion("no-such-command", clean_env(), said.append)

    def tried_three_times() -> bool:
        child.watch()
        return len(said) >= 3

    wait_until(tried_three_times, 60, every_s=0.01)
    child.end(5)
    assert [line.rpartition("with status ")[2] for line in said[:3]] == [
        f"2; it starts again in {pause} s" for pause in ("0.01", "0.02", "0.04")
    ]
    assert not child.runs


def test_it_is_told_to_stop_and_killed_when_it_does_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`end` returns when it is gone, whatever it does."""
    stubborn = tmp_path / "stubborn"
    stubborn.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n")
    stubborn.chmod(0o755)
    monkeypatch.setattr(companion.sys, "executable", str(stubborn))
    child = Companion("stubborn", os.environ, lambda _line: None)
    wait_until(lambda: ignores(child, signal.SIGTERM), 20)
    child.stop()
    assert child.runs
    child.end(0.3)
    assert not is_there(child._process.pid)


@pytest.mark.parametrize(("status", "was_cut"), [(0, False), (4, True), (1, True)])
def test_what_it_could_not_finish_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int, was_cut: bool
) -> None:
    """By the status with which it ends when it is told to."""
    obedient = tmp_path / "obedient"
    obedient.write_text(f"#!/bin/sh\ntrap 'exit {status}' TERM\ntouch {tmp_path}/began\nwhile :; do sleep 0.1; done\n")
    obedient.chmod(0o755)
    monkeypatch.setattr(companion.sys, "executable", str(obedient))
    child = Companion("obedient", os.environ, lambda _line: None)
    wait_until((tmp_path / "began").exists, 20)
    assert not child.was_cut
    child.stop()
    wait_until(lambda: not child.runs, 20)
    assert child.was_cut is was_cut
    child.end(1)


def ignores(child: Companion, number: int) -> bool:
    """Whether it ignores a signal by now, as the kernel says."""
    lines = Path(f"/proc/{child._process.pid}/status").read_text().splitlines()
    ignored = next(line for line in lines if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) & (1 << (number - 1)))


def test_systemd_is_not_told_by_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its main process is another: a child that said READY=1 would speak in that one's name."""
    monkeypatch.setattr(companion.subprocess, "Popen", lambda _command, *, env, **_options: env)
    child = Companion("grpc", {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "2", "KEPT": "yes"}, print)
    assert child._process == {"KEPT": "yes"}
