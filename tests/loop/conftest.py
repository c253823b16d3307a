"""Real gunicorn processes with a small application: our worker, and gunicorn's own to compare it with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.loop.exchange import exchange
from tests.serving import clean_env, free_port, http_status, wait_until

OURS = "service.server.loop.RequestLoop"
ECHO = "tests.loop.application:application"
GUNICORNS = "gunicorn.workers.ggevent.GeventWorker"


class Server:
    """gunicorn with one worker of a class, on a free port."""

    def __init__(self, worker: str, log: Path, *options: str, application: str = ECHO, **env: str) -> None:
        self.port = free_port()
        self.log = log
        command = [
            sys.executable, "-m", "tests.loop.gunicorn", "--worker-class", worker, "--bind", f"127.0.0.1:{self.port}",
            "--workers", "1", "--keep-alive", "75", "--worker-connections", "4096", "--http-parser", "python",
            "--no-control-socket", "--graceful-timeout", "5", "--log-level", "warning", *options,
            application,
        ]
        with open(log, "wb") as out:
            self.process = subprocess.Popen(command, env=clean_env(**env), stdout=out, stderr=out)

    def wait_ready(self) -> Server:
        """When it answers."""
        wait_until(lambda: http_status(f"http://127.0.0.1:{self.port}/") == 200, 30, self.log.read_text)
        return self

    def descriptors(self) -> int:
        """How many the worker has open, this question's own among them."""
        (answer,) = exchange(self.port, [b"GET /process HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"])
        return len(os.listdir(f"/proc/{answer.told['pid']}/fd"))

    def stop(self) -> None:
        """End it."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.log.read_text()


@contextmanager
def served(worker: str, log: Path, *options: str, application: str = ECHO, **env: str) -> Iterator[Server]:
    """A server for a `with` block."""
    server = Server(worker, log, *options, application=application, **env)
    try:
        yield server.wait_ready()
        server.stop()
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our loop."""
    with served(OURS, tmp_path_factory.mktemp("ours") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def gunicorns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """gunicorn's own worker."""
    with served(GUNICORNS, tmp_path_factory.mktemp("gunicorns") / "log") as server:
        yield server
