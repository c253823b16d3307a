"""A real `ledgerd serve` in a process of its own, for the tests that need real gunicorn, signals and sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LEDGERD = [sys.executable, "-m", "service"]


def free_port() -> int:
    """A TCP port of loopback that nothing uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_env(**settings: str) -> dict[str, str]:
    """This process's environment with no other ledgerd setting than `settings`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LEDGERD_") and k != "DATABASE_URL"}
    if "LEDGERD_POSTGRES_BIN" in os.environ:
        kept["LEDGERD_POSTGRES_BIN"] = os.environ["LEDGERD_POSTGRES_BIN"]
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


def ledgerd(*arguments: str, timeout_s: float = 60, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*LEDGERD, *arguments], env=clean_env(**settings), capture_output=True, text=True, timeout=timeout_s, check=False
    )


class Serve:
    """`ledgerd serve` on a free port, or that of an earlier one; leave it with `stop` or in a `with` statement."""

    def __init__(self, data_dir: Path, port: int | None = None, **settings: str) -> None:
        self.port = port or free_port()
        self.log = data_dir / f"serve-{self.port}.log"
        self._settings = {"LEDGERD_DATA_DIR": str(data_dir), "LEDGERD_BIND": f"127.0.0.1:{self.port}", **settings}
        data_dir.mkdir(parents=True, exist_ok=True)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*LEDGERD, "serve"], env=clean_env(**self._settings), stdout=log, stderr=log)

    def wait_ready(self, timeout_s: float = 60) -> Serve:
        """Return when /readyz says so. Raises AssertionError with the log when it does not come up."""
        wait_until(self._ready, timeout_s, lambda: f"not ready; its log:\n{self.log.read_text()}")
        return self

    def _ready(self) -> bool:
        assert self.process.poll() is None, f"serve ended by itself:\n{self.log.read_text()}"
        return http_status(f"http://127.0.0.1:{self.port}/readyz") == 200

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another ledgerd command with the same settings."""
        return ledgerd(*arguments, **self._settings)

    def key(self, *scopes: str, ledger: str = "main") -> str:
        """A new API key."""
        done = self.command("key", "create", "--ledger", ledger, "--scopes", ",".join(scopes or ("admin",)))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def workers(self) -> list[int]:
        """The process ids of gunicorn's workers."""
        return [worker for arbiter in children(self.process.pid, "service.server") for worker in children(arbiter)]

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 60) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def __enter__(self) -> Serve:
        return self

    def __exit__(self, *exc: Any) -> None:
        try:
            self.stop()
        finally:
            for pid in descendants(self.process.pid):
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()


def http_status(url: str) -> int | None:
    """The status of a GET, None when there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code
    except OSError:
        return None


def children(pid: int, word: str = "") -> list[int]:
    """The child processes of `pid` whose command line has `word`."""
    return [child for child, parent in _parents().items() if parent == pid and word in _command(child)]


def descendants(pid: int) -> list[int]:
    """The child processes of `pid`, theirs, and so on; parents before children."""
    parents, found = _parents(), [pid]
    for ancestor in found:  # grows while it is gone through
        found += [child for child, parent in parents.items() if parent == ancestor]
    return found[1:]


def is_there(pid: int) -> bool:
    """Whether there is such a process, be it one that has ended and was not waited for."""
    return Path(f"/proc/{pid}").exists()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """`pid` and all below it stand still (SIGSTOP) in the block."""
    still: list[int] = []
    try:
        while fresh := [p for p in (pid, *descendants(pid)) if p not in still]:  # until none was started meanwhile
            for process in fresh:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGSTOP)
            still += fresh
        yield
    finally:
        for process in still:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def _parents() -> dict[int, int]:
    """Every process with its parent."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            found[int(folder.name)] = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def wait_until(
    condition: Any, timeout_s: float, message: Any = lambda: "the condition did not come true", *, every_s: float = 0.05
) -> None:
    """Return when `condition()` is true. Raises AssertionError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, message()
        time.sleep(every_s)
