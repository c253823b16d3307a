"""What `ledgerd serve` runs: the embedded database when there is no other, migrations, then gunicorn, until a signal.

The order of stopping is in docs/operations.md ("How it stops"): the web server first, then the database, then this process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from service import __version__
from service.concurrency.context import background, with_timeout
from service.concurrency.primitives import Parking, monotonic
from service.config import DISPATCHER_CONNECTIONS, Config, default_data_dir
from service.database import open_keys
from service.errors import ConfigurationError
from service.extras import grpc_problems
from service.ledger.grants import Grant
from service.repository.connect import server_limits
from service.repository.embedded import EmbeddedPostgres, StartAbandoned, die_with_parent
from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from service.server.companion import Companion
from service.server.exit_status import ExitStatus

POLL_S = 0.25
READY_TIMEOUT_S = 60.0
HARD_STOP_S = 5.0
SPARE_CONNECTIONS = 20  # above the pools: for commands, migrations and people
FIRST_LEDGER = "main"


def embedded(config: Config) -> EmbeddedPostgres:
    """The embedded PostgreSQL of `config`, not started."""
    return EmbeddedPostgres(
        config.data_dir, bin_dir=config.postgres_bin, max_connections=config.connections + SPARE_CONNECTIONS
    )


def serve(config: Config, env: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Run everything until SIGTERM or SIGINT; the ExitStatus. Raises ConfigurationError when it cannot start."""
    if env.get("LISTEN_PID") == str(os.getpid()):
        raise ConfigurationError("`ledgerd serve` does not take a socket of systemd: `ledgerd web` does")
    if config.grpc_bind is not None and (problems := grpc_problems()):
        raise ConfigurationError(*problems, "or unset LEDGERD_GRPC_BIND")
    with ExitStack() as stack:
        signals = _Signals(stack)
        database = None
        url = config.database_url
        if url is None:
            database = embedded(config)
            try:
                database.start(say, give_up=signals.came)
            except StartAbandoned:
                return ExitStatus.STOPPED
            _link_data_dir(config, say)
            stack.callback(database.stop)
            url = database.url
        _check_connections(config, url)
        migrate(url, sql_folder(), say)
        key_file = _first_key(config, url, say) if database is not None else None
        if signals.count:
            return 0
        web = subprocess.Popen(
            [sys.executable, "-m", "service.server"],
            env=_web_env(env, url),
            start_new_session=True,  # Ctrl-C in a terminal is for this process, which passes it on
            preexec_fn=die_with_parent,  # noqa: PLW1509  # this process has one thread
        )
        stack.callback(_end, web)
        companions = _companions(config, env, url, say)
        for companion in companions:
            stack.callback(companion.end, HARD_STOP_S)
        _announce(config, web, key_file, say, signals)
        return _watch(config, web, signals, companions=companions, database=database, say=say)


def _companions(config: Config, env: Mapping[str, str], url: str, say: Callable[[str], None]) -> list[Companion]:
    """What runs beside the web server, started."""
    commands = ["dispatcher"] if config.dispatcher == "on" else []
    if config.grpc_bind is not None:
        say(f"gRPC is to be served on {config.grpc_bind}")
        commands.append("grpc")
    return [Companion(command, {**env, "DATABASE_URL": url}, say) for command in commands]


def _web_env(env: Mapping[str, str], url: str) -> dict[str, str]:
    """The web server speaks to systemd for both, watchdog included, which names a process: the unit says NotifyAccess=all."""
    return {**{name: value for name, value in env.items() if name != "WATCHDOG_PID"}, "DATABASE_URL": url}


class _Signals:
    """Counts SIGTERM and SIGINT, and wakes whoever sleeps on it."""

    def __init__(self, stack: ExitStack) -> None:
        self.count = 0
        self.reload = False
        self._parking = Parking()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            stack.callback(signal.signal, number, signal.signal(number, self._take))

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        else:
            self.count += 1
        self._parking.wake()

    def came(self) -> bool:
        """Whether to stop."""
        return self.count > 0

    def sleep(self, timeout_s: float) -> None:
        """Sleep until a signal comes or `timeout_s` has passed."""
        self._parking.wait(timeout_s)


def _watch(
    config: Config,
    web: subprocess.Popen[bytes],
    signals: _Signals,
    *,
    companions: Sequence[Companion],
    database: EmbeddedPostgres | None,
    say: Callable[[str], None],
) -> int:
    while not signals.count:
        signals.sleep(POLL_S)
        if signals.reload:
            signals.reload = False
            web.send_signal(signal.SIGHUP)
        if (status := web.poll()) is not None:
            say(f"the web server ended by itself with status {status}")
            return status if status > 0 else ExitStatus.PROBLEM
        if database is not None and database.poll() is not None:
            say("PostgreSQL ended by itself; starting it again")
            with suppress(StartAbandoned):
                database.relaunch(say, give_up=signals.came)
        for companion in companions:
            companion.watch()
    say("stopping: requests in flight are finished (once more Ctrl-C or SIGTERM stops at once)")
    web.send_signal(signal.SIGTERM)
    for companion in companions:
        companion.stop()
    end = monotonic() + config.shutdown_timeout_s + HARD_STOP_S
    while _any_runs(web, companions) and signals.count < 2 and monotonic() < end:
        signals.sleep(POLL_S)
    if _any_runs(web, companions):
        say("stopping at once")
        return ExitStatus.CUT
    if cut := [companion.command for companion in companions if companion.was_cut]:
        say(f"stopped; of `ledgerd {cut[0]}` something was cut off")
        return ExitStatus.CUT
    say("stopped")
    return web.returncode if web.returncode >= 0 else ExitStatus.CUT


def _any_runs(web: subprocess.Popen[bytes], companions: Sequence[Companion]) -> bool:
    return web.poll() is None or any(companion.runs for companion in companions)


def _end(web: subprocess.Popen[bytes]) -> None:
    """Make sure that gunicorn is gone, with its workers: those that lost their arbiter end by themselves, if they can."""
    if web.poll() is None:
        web.send_signal(signal.SIGQUIT)
    end = monotonic() + HARD_STOP_S
    while _group_lives(web) and monotonic() < end:
        Parking().wait(POLL_S / 5)
    if _group_lives(web):
        os.killpg(web.pid, signal.SIGKILL)
    web.wait()


def _group_lives(web: subprocess.Popen[bytes]) -> bool:
    web.poll()  # a process that has ended is in its group until somebody asks for its status
    try:
        os.killpg(web.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _link_data_dir(config: Config, say: Callable[[str], None]) -> None:
    """Where the data could not be in the checkout (see `default_data_dir`), let `var` lead there: paths then hold anyway."""
    link = Path.cwd() / "var"
    if config.data_dir == default_data_dir() != link and not link.is_symlink() and not link.exists():
        link.symlink_to(config.data_dir)
        say(f"the data is in {config.data_dir}, where PostgreSQL's user can enter; `var` leads there")


def _check_connections(config: Config, url: str) -> None:
    _, granted = server_limits(url)
    if config.connections > granted:
        raise ConfigurationError(too_many_connections(config, granted))


def too_many_connections(config: Config, granted: int) -> str:
    """The sentence for pools that are larger together than what the server grants."""
    return (
        f"LEDGERD_WORKERS={config.workers}{' + 1 for gRPC' if config.grpc_bind else ''}"
        f" × (LEDGERD_DB_MAX_OPEN={config.db_max_open} + 1)"
        f"{f', and {DISPATCHER_CONNECTIONS} for webhooks,' if config.dispatcher == 'on' else ''} is {config.connections}"
        f" connections, but the server grants {granted}: lower one of them, or raise its max_connections"
    )


def _first_key(config: Config, url: str, say: Callable[[str], None]) -> Path:
    """On a database without any key, make an admin key of ledger `main` and keep it in a file; returns where that is."""
    path = config.data_dir / "admin.key"
    with open_keys(url) as keys, with_timeout(background(), config.timeout_s) as ctx:
        if keys.list_all(ctx):
            return path
        token = keys.create(ctx, Grant(scopes=("admin",), name="first admin key"), ledger=FIRST_LEDGER).token
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")
    say(f"made ledger {FIRST_LEDGER!r} and an admin key for it")
    return path


def _announce(
    config: Config, web: subprocess.Popen[bytes], key_file: Path | None, say: Callable[[str], None], signals: _Signals
) -> None:
    """Say where it serves and what to try, once it does."""
    host, _, port = config.bind.rpartition(":")
    url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '[::]') else host}:{port}"  # noqa: S104  # nosec B104  # compared, not bound
    end = monotonic() + READY_TIMEOUT_S
    while not _answers(f"{url}/readyz"):
        if web.poll() is not None or signals.count or monotonic() > end:
            return
        signals.sleep(POLL_S / 5)
    say(f"ledgerd {__version__} serves on {url}")
    if key_file is not None and key_file.exists():
        say(f"the admin key is in {key_file}")
        say(f'try:  curl -H "Authorization: Bearer $(cat {key_file})" {url}/api/users')
    else:
        say("make a key:  ledgerd key create --ledger main --scopes admin")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # nosec B310  # our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
