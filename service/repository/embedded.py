"""The embedded PostgreSQL: the binaries of the package's `embedded` extra, run by our own code as a child of this process.

Its data and its socket live under the data directory; the socket's folder has mode 0700, there is no TCP, and whoever
connects is known by their system user (peer authentication). PostgreSQL refuses to run as root, so root runs it as the
system user `postgres` or `nobody`. A lock on the data directory keeps a second ledgerd out. If ledgerd is killed, the
kernel tells PostgreSQL to shut down; whatever is still left over is ended at the next start, which then recovers.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import IO
from urllib.parse import quote

from service.errors import ConfigurationError
from service.repository.binaries import NEWEST, copy_packaged, major_version, packaged_binaries
from service.repository.sizing import settings_for

DATABASE = ROLE = "ledgerd"
SILENCE_TIMEOUT_S = 60.0  # of a start without any answer
START_TIMEOUT_S = 3500.0  # a recovery takes as long as the log is; below TimeoutStartSec= of systemd/ledgerd-postgres.service
TELL_AFTER_S = 3.0  # what a start waits for
STOP_TIMEOUT_S = 60.0
QUIT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 3
ACCEPTS, REJECTS = 0, 1  # pg_isready's exit status
LONGEST_SOCKET_PATH = 107
_PR_SET_PDEATHSIG = 1
_SETTINGS = """
# Written by ledgerd at every start.
listen_addresses = ''
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
checkpoint_timeout = '15min'
max_slot_wal_keep_size = '8GB'
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = 'warning'
log_min_error_statement = 'panic'
log_checkpoints = off
jit = off
"""


Report = Callable[[str], None]
GiveUp = Callable[[], bool]


class StartAbandoned(Exception):
    """Whoever started PostgreSQL did not want it any more before it took connections."""


class EmbeddedPostgres:
    """One database cluster in `data_dir`/postgres. `bin_dir` None takes the binaries of the extra.

    PostgreSQL's own log goes to `data_dir`/postgres.log, or with `log_to_stderr` to where this process writes.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        bin_dir: Path | None = None,
        max_connections: int = 100,
        log_to_stderr: bool = False,
    ) -> None:
        self.data_dir = data_dir
        self._log = None if log_to_stderr else data_dir / "postgres.log"
        self._cluster = data_dir / "postgres"
        self._socket_dir = _socket_dir(data_dir)
        self._bin_dir = bin_dir
        self._max_connections = max_connections
        self._user = user = _service_user()
        self._uid = user.pw_uid if user else None
        self._gid = user.pw_gid if user else None
        self._groups: list[int] | None = [] if user else None
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The connection string for DATABASE_URL."""
        return f"postgresql://{ROLE}@/{DATABASE}?host={quote(str(self._socket_dir), safe='/')}"

    @property
    def is_made(self) -> bool:
        """Whether there is a cluster, running or not."""
        return (self._cluster / "PG_VERSION").exists()

    def is_running(self) -> bool:
        """Whether some ledgerd serves this data directory now."""
        try:
            with self._open_lock() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        except PermissionError as exc:
            raise ConfigurationError(f"LEDGERD_DATA_DIR={self.data_dir} belongs to another user: {exc.strerror}") from exc
        return False

    def check_reachable(self) -> None:
        """Raise ConfigurationError when the user that is to run PostgreSQL cannot enter the data directory, or its parents."""
        present = next(folder for folder in (self.data_dir, *self.data_dir.parents) if folder.is_dir())
        if self._user is not None and not self._can("-x", present):
            raise ConfigurationError(
                f"LEDGERD_DATA_DIR={self.data_dir} is in a folder that the system user {self._user.pw_name} cannot enter,"
                " and PostgreSQL does not run as root; choose one outside, such as /var/lib/ledgerd"
            )

    def start(self, report: Report = lambda _: None, give_up: GiveUp = lambda: False) -> None:
        """Start the server, making the cluster first when there is none. Returns when it takes connections.

        Raises ConfigurationError when another ledgerd has the data directory, or the server does not come up: within
        START_TIMEOUT_S, its recovery included, or SILENCE_TIMEOUT_S without an answer. Raises StartAbandoned when `give_up`
        says so before.
        """
        self._prepare_folders()
        self._take_lock()
        try:
            bin_dir = self._reachable_binaries(report)
            self._end_left_over()
            if not self.is_made:
                report(f"making a new PostgreSQL cluster in {self._cluster}")
                self._initialise(bin_dir)
            self._check_version(bin_dir)
            self._write_settings()
            self._launch(bin_dir, report, give_up)
            self._ensure_database(bin_dir)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """A fast shutdown: sessions are ended, everything is on disk. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGQUIT)
                self._wait_or_kill(process)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _wait_or_kill(self, process: subprocess.Popen[bytes]) -> None:
        """A server that even an immediate shutdown does not end is stopped or stuck; the next start recovers."""
        try:
            process.wait(QUIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(QUIT_TIMEOUT_S)

    def poll(self) -> int | None:
        """The exit status of a server that has ended by itself, else None."""
        return None if self._process is None else self._process.poll()

    def relaunch(self, report: Report = lambda _: None, give_up: GiveUp = lambda: False) -> None:
        """Start the server again after it has ended by itself; it recovers from its log. The errors are those of `start`."""
        self._launch(self._reachable_binaries(report), report, give_up)

    def responds(self) -> bool:
        """Whether the server answers within `ANSWER_TIMEOUT_S`, be it that it takes no connections while it recovers."""
        return self._is_ready(self._bin_dir or packaged_binaries()) in (ACCEPTS, REJECTS)

    def _is_ready(self, bin_dir: Path) -> int:
        options = ("-q", "-t", str(ANSWER_TIMEOUT_S), "-h", str(self._socket_dir), "-d", "postgres")
        return self._run(bin_dir / "pg_isready", *options).returncode

    @property
    def pid(self) -> int | None:
        """The process id of the server's first process, while it runs."""
        return None if self._process is None else self._process.pid

    def _prepare_folders(self) -> None:
        owner = os.geteuid() if self._user is None else self._user.pw_uid
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            for folder in (self._cluster, self._socket_dir):
                folder.mkdir(mode=0o700, exist_ok=True)
                if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), owner):
                    raise ConfigurationError(f"{folder} belongs to another user; remove it")
                folder.chmod(0o700)
                if self._user is not None:
                    shutil.chown(folder, self._user.pw_uid, self._user.pw_gid)
        except OSError as exc:
            raise ConfigurationError(f"LEDGERD_DATA_DIR={self.data_dir}: {exc.strerror}: {exc.filename}") from exc
        self.check_reachable()

    def _open_lock(self) -> IO[str]:
        return open(self.data_dir / "ledgerd.lock", "r+", encoding="utf-8")

    def _take_lock(self) -> None:
        (self.data_dir / "ledgerd.lock").touch(mode=0o600)
        lock = self._open_lock()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise ConfigurationError(
                f"another ledgerd (process {holder}) serves the data directory {self.data_dir};"
                " stop it, or set LEDGERD_DATA_DIR to another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def _reachable_binaries(self, report: Report) -> Path:
        """The folder of the binaries, or of a copy in the data directory where PostgreSQL's user cannot enter the first."""
        bin_dir = self._bin_dir or packaged_binaries()
        if self._user is None or self._can("-x", bin_dir / "postgres"):
            return bin_dir
        return copy_packaged(bin_dir, self.data_dir / f"postgresql-{NEWEST}", report)

    def _end_left_over(self) -> None:
        """We hold the lock, so a server that still runs here has lost its ledgerd: shut it down, and wait until it is gone."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text("utf-8").split()[0])
        except (OSError, ValueError, IndexError):
            return
        if self._is_our_server(pid):
            os.kill(pid, signal.SIGINT)
        end = time.monotonic() + STOP_TIMEOUT_S
        while self._is_our_server(pid) or _is_dead_postgres(pid):
            if time.monotonic() > end:
                raise ConfigurationError(f"a PostgreSQL left over in {self._cluster} (process {pid}) does not end; kill it")
            time.sleep(0.05)

    def _is_our_server(self, pid: int) -> bool:
        """Whether the process of that number works in our cluster; another one may have the number by now."""
        try:
            return Path(f"/proc/{pid}/cwd").resolve(strict=True) == self._cluster.resolve()
        except OSError:
            return False

    def _initialise(self, bin_dir: Path) -> None:
        options = ("--username=postgres", "--auth=peer", "--encoding=UTF8", "--locale=C", "--data-checksums")
        done = self._run(bin_dir / "initdb", "-D", str(self._cluster), *options)
        if done.returncode != 0:
            raise ConfigurationError(f"initdb failed: {_last_line(done.stderr)}")

    def _check_version(self, bin_dir: Path) -> None:
        have = major_version(bin_dir, self._run(bin_dir / "postgres", "--version").stdout.decode())
        need = (self._cluster / "PG_VERSION").read_text("utf-8").strip()
        if have != need:
            raise ConfigurationError(
                f"the data in {self._cluster} is of PostgreSQL {need}, the binaries in {bin_dir} are of {have};"
                f" set LEDGERD_POSTGRES_BIN to those of {need}, or move the data with pg_upgrade"
            )

    def _write_settings(self) -> None:
        """Settings and access rules are ours and written at each start; `ALTER SYSTEM` still has the last word."""
        me = pwd.getpwuid(os.geteuid()).pw_name
        server_user = self._user.pw_name if self._user is not None else me
        maps = [f"ledgerd {name} {role}" for name in {me, server_user} for role in (ROLE, "postgres")]
        text = f"{_SETTINGS}{settings_for(self._cluster)}max_connections = {self._max_connections}\n"
        text += f"unix_socket_directories = '{self._socket_dir}'\n"
        files = {
            "ledgerd.conf": text,
            "pg_hba.conf": "# Written by ledgerd at every start.\nlocal all all peer map=ledgerd\n"
            "local replication postgres peer map=ledgerd\n",  # pg_basebackup and pg_receivewal
            "pg_ident.conf": "# Written by ledgerd at every start.\n" + "\n".join(sorted(maps)) + "\n",
        }
        for name, content in files.items():
            (self._cluster / name).write_text(content, "utf-8")
            if self._user is not None:
                shutil.chown(self._cluster / name, self._user.pw_uid, self._user.pw_gid)
        main = self._cluster / "postgresql.conf"
        if "include 'ledgerd.conf'" not in main.read_text("utf-8"):
            with main.open("a", encoding="utf-8") as file:
                file.write("\ninclude 'ledgerd.conf'\n")

    def _launch(self, bin_dir: Path, report: Report, give_up: GiveUp) -> None:
        with open(self._log, "ab") if self._log else nullcontext() as log:
            self._process = subprocess.Popen(
                [bin_dir / "postgres", "-D", str(self._cluster)],
                stdin=subprocess.DEVNULL, stdout=log or sys.stderr, stderr=log, cwd="/",
                start_new_session=True,  # Ctrl-C in a terminal is for ledgerd, which stops its database last
                preexec_fn=die_with_parent,  # noqa: PLW1509  # this process has one thread when it starts a server
                user=self._uid, group=self._gid, extra_groups=self._groups,
            )
        began = answered = time.monotonic()
        told = False
        while (state := self._is_ready(bin_dir)) != ACCEPTS:
            now = time.monotonic()
            answered = now if state == REJECTS else answered
            is_too_late = now - began > START_TIMEOUT_S or now - answered > SILENCE_TIMEOUT_S
            if self._process.poll() is not None or is_too_late:
                reason = f"{_last_line(self._log.read_bytes())} (see {self._log})" if self._log else "see its own words above"
                raise ConfigurationError(f"PostgreSQL did not start: {reason}")
            if give_up():
                raise StartAbandoned
            if state == REJECTS and now - began > TELL_AFTER_S and not told:
                report("PostgreSQL recovers from its log; this takes as long as the log is")
                told = True
            time.sleep(0.05)

    def _ensure_database(self, bin_dir: Path) -> None:
        """The role and the database of ledgerd, which is no superuser."""
        for question, statement in (
            (f"SELECT 1 FROM pg_roles WHERE rolname = '{ROLE}'", f"CREATE ROLE {ROLE} LOGIN"),  # nosec B608  # a constant
            (
                f"SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'",  # nosec B608  # a constant
                f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
            ),
        ):
            if self._psql(bin_dir, question) != "1":
                self._psql(bin_dir, statement)

    def _psql(self, bin_dir: Path, statement: str) -> str:
        connection = ("-h", str(self._socket_dir), "-U", "postgres", "-d", "postgres")
        done = self._run(bin_dir / "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", *connection, "-c", statement)
        if done.returncode != 0:
            raise ConfigurationError(f"PostgreSQL refused {statement!r}: {_last_line(done.stderr)}")
        return done.stdout.decode().strip()

    def _run(self, program: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [program, *arguments], capture_output=True, check=False, cwd="/",
            user=self._uid, group=self._gid, extra_groups=self._groups,
        )

    def _can(self, test: str, path: Path) -> bool:
        return self._run(Path("/usr/bin/test"), test, str(path)).returncode == 0


def _socket_dir(data_dir: Path) -> Path:
    """`socket` in the data directory, or a folder in /tmp when that path is too long for a Unix socket."""
    folder = data_dir / "socket"
    if len(os.fsencode(folder / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET_PATH:
        return folder
    return Path(f"/tmp/ledgerd-{os.geteuid()}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}")  # noqa: S108  # nosec B108  # 0700, and owner checked


def _service_user() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL: ourselves, or for root a system user. Raises ConfigurationError when there is none."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ConfigurationError("PostgreSQL does not run as root, and there is no system user `postgres` or `nobody`")


def die_with_parent() -> None:
    """For `preexec_fn`: the kernel sends the child SIGINT (for PostgreSQL a fast shutdown) when its parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _is_dead_postgres(pid: int) -> bool:
    """Whether a PostgreSQL has ended but its parent has not noticed yet: until then it counts as running for the next one."""
    try:
        _, name, state = Path(f"/proc/{pid}/stat").read_text("utf-8").replace("(", ")").split(")", 2)
    except (OSError, ValueError):
        return False
    return name == "postgres" and state.split()[0] == "Z"


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"
