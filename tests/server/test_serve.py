"""`ledgerd serve` as a unit's main process: its web server speaks for both."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.server.exit_status import ExitStatus
from tests.server.web import NotifySocket
from tests.serving import LEDGERD, children, clean_env, descendants, free_port, wait_until


@pytest.fixture
def serve(notify: NotifySocket, database_url: str, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `ledgerd serve` that systemd watches, by the process id of `serve` itself."""
    log = open(tmp_path / "log", "wb")  # noqa: SIM115
    env = clean_env(
        DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path), LEDGERD_BIND=f"127.0.0.1:{free_port()}",
        LEDGERD_WORKERS="1", NOTIFY_SOCKET=notify.path, WATCHDOG_USEC="1000000",
    )
    watched = "import os, sys; os.environ['WATCHDOG_PID'] = str(os.getpid()); os.execvp(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen([LEDGERD[0], "-c", watched, *LEDGERD, "serve"], env=env, stdout=log, stderr=log)
    yield process
    log.close()
    for pid in (*descendants(process.pid), process.pid):
        subprocess.run(["kill", "-9", str(pid)], stderr=subprocess.DEVNULL, check=False)
    process.wait(10)


def test_its_state_is_told(serve: subprocess.Popen[bytes], notify: NotifySocket) -> None:
    """READY=1, pings, a reload that SIGHUP to `serve` begins, and STOPPING=1; the status at the end is 0."""
    wait_until(lambda: notify.states == ["READY"], 30)
    wait_until(lambda: notify.count("WATCHDOG") > 2, 30)
    serve.send_signal(signal.SIGHUP)
    wait_until(lambda: notify.states == ["READY", "RELOADING", "READY"], 30)
    serve.send_signal(signal.SIGTERM)
    assert serve.wait(30) == ExitStatus.STOPPED
    assert notify.states == ["READY", "RELOADING", "READY", "STOPPING"]


def test_every_process_may_hear_the_signal(serve: subprocess.Popen[bytes], notify: NotifySocket) -> None:
    """SIGTERM to all of them at once, as KillMode=control-group sends it, is one stop, and no hard one."""
    wait_until(lambda: notify.states == ["READY"], 30)
    for pid in (serve.pid, *descendants(serve.pid)):
        with contextlib.suppress(ProcessLookupError):  # it was told by its parent before, and has ended
            os.kill(pid, signal.SIGTERM)
    assert serve.wait(30) == ExitStatus.STOPPED


def test_it_ends_when_the_arbiter_is_killed(serve: subprocess.Popen[bytes], notify: NotifySocket) -> None:
    """No worker is left, and the status is not that of a stop."""
    wait_until(lambda: notify.states == ["READY"], 30)
    (arbiter,) = children(serve.pid, "service.server")
    workers = children(arbiter)
    os.kill(arbiter, signal.SIGKILL)
    assert serve.wait(30) == ExitStatus.PROBLEM
    assert not any(os.path.exists(f"/proc/{worker}") for worker in workers)
