"""A real `ledgerd web`, and the socket on which it tells its state, as systemd would listen there."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from itertools import count
from pathlib import Path
from typing import Any

from tests.server.load import ANSWER_S, exchange
from tests.serving import LEDGERD, children, clean_env, descendants, free_port, wait_until

READY_S = 60  # on a busy machine
_numbers = count(1)


def activated(listener: socket.socket) -> list[str]:
    """What goes before a command that gets `listener` as systemd hands it over; the descriptor must be passed on."""
    return [sys.executable, str(Path(__file__).with_name("activate.py")), str(listener.fileno())]


class NotifySocket:
    """A datagram socket such as systemd's; `messages` has each as a dictionary of its assignments, in order."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ledgerd-notify-")
        self.path = f"{self._folder.name}/notify"
        self.messages: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while data := self._socket.recv(65_536):
            self.messages.append(dict(line.split("=", 1) for line in data.decode().split("\n")))

    def count(self, name: str) -> int:
        """How many messages have a variable."""
        return sum(name in message for message in self.messages)

    @property
    def status(self) -> str:
        """The present STATUS= line."""
        return next((message["STATUS"] for message in reversed(self.messages) if "STATUS" in message), "")

    @property
    def states(self) -> list[str]:
        """READY, RELOADING and STOPPING, in their order."""
        names = ("READY", "RELOADING", "STOPPING")
        return [name for message in list(self.messages) for name in names if name in message]

    def close(self) -> None:
        """Read to the end and remove it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.path)
        self._reader.join(10)
        self._socket.close()
        self._folder.cleanup()


class Web:
    """`ledgerd web` with two workers; on the socket `listener` where there is one, else on a port of its own."""

    def __init__(self, folder: Path, notify: NotifySocket, listener: socket.socket | None = None, **settings: str) -> None:
        self.notify = notify
        self.port = listener.getsockname()[1] if listener and listener.family == socket.AF_INET else free_port()
        self._log = folder / f"web-{next(_numbers)}.log"
        env = {
            "LEDGERD_BIND": f"127.0.0.1:{self.port}", "LEDGERD_WORKERS": "2", "LEDGERD_DB_MAX_OPEN": "4",
            "LEDGERD_DB_MIN_IDLE": "1", "NOTIFY_SOCKET": notify.path, "LEDGERD_RUN_DIR": str(folder / "run"), **settings,
        }
        command, fds = [*LEDGERD, "web"], ()
        if listener is not None:
            command = [*activated(listener), *command]
            fds = (listener.fileno(),)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(command, env=clean_env(**env), stdout=log, stderr=log, pass_fds=fds)

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text()

    def wait_ready(self, number: int = 1) -> Web:
        """Return when it has said READY=1 `number` times."""
        wait_until(lambda: self.notify.count("READY") >= number or self._ended(), READY_S, self._tell)
        assert not self._ended(), self._tell()
        return self

    def wait_log(self, text: str, times: int = 1, timeout_s: float = READY_S) -> None:
        """Return when the log has `text` so many times."""
        wait_until(lambda: self.log.count(text) >= times, timeout_s, self._tell)

    def wait_workers(self, number: int) -> list[int]:
        """The process ids of the workers, once there are `number`, all of them up."""
        wait_until(lambda: self.notify.status.startswith(f"{number} of"), READY_S, self._tell)
        wait_until(lambda: len(self.workers) == number, READY_S, self._tell)
        return self.workers

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers there are."""
        return sorted(children(self.process.pid, "service.server"))

    def answers(self, path: str = "/readyz") -> int | None:
        """The status of a GET on a new connection, None when there is no answer."""
        try:
            with self.connect() as connection:
                return exchange(connection, "GET", path)[0]
        except (OSError, http.client.HTTPException):
            return None

    def connect(self) -> socket.socket:
        """A new connection. Raises OSError when it is refused."""
        return socket.create_connection(("127.0.0.1", self.port), ANSWER_S)

    def signal(self, number: int = signal.SIGTERM) -> Web:
        """Send it to the arbiter."""
        self.process.send_signal(number)
        return self

    def wait_end(self, timeout_s: float = 30) -> int:
        """The exit status. Raises AssertionError with the log when it does not end."""
        wait_until(self._ended, timeout_s, self._tell)
        return self.process.returncode

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def _tell(self) -> str:
        lines = [line for line in self.log.splitlines() if '"ledgerd.access"' not in line]
        return "\n".join([f"{self.notify.messages[-5:]}", "its log:", *lines[-40:]])

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *exc: Any) -> None:
        family = descendants(self.process.pid)
        for pid in (self.process.pid, *family):
            subprocess.run(["kill", "-9", str(pid)], stderr=subprocess.DEVNULL, check=False)
        self.process.wait(10)
