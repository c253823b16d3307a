"""What `ledgerd postgres` runs: the embedded PostgreSQL in the foreground, as the main process of a systemd unit.

systemd hears READY once PostgreSQL takes connections, WATCHDOG while it answers, STOPPING when it is told to stop. A
PostgreSQL that ends by itself ends this process with status 1: starting again is systemd's to do.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from service.concurrency.primitives import Parking, monotonic
from service.config import Config
from service.repository.embedded import EmbeddedPostgres
from service.server.notify import Notifier
from service.server.supervisor import SPARE_CONNECTIONS

INSTANCES = 2  # during a release the old and the new one hold their pools at once
POLL_S = 0.25


class _Told(BaseException):
    """A signal says to stop; it may come while PostgreSQL still recovers."""


def run_postgres(config: Config, say: Callable[[str], None]) -> int:
    """Run PostgreSQL until SIGTERM or SIGINT; the exit status. Raises ConfigurationError when it cannot start."""
    postgres = EmbeddedPostgres(
        config.data_dir,
        bin_dir=config.postgres_bin,
        max_connections=INSTANCES * config.connections + SPARE_CONNECTIONS,
        log_to_stderr=True,
    )
    systemd = Notifier.take_from(os.environ)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    try:
        postgres.start(say)
        systemd.send(READY=1, STATUS=f"PostgreSQL (process {postgres.pid}) takes connections")
        say(f"PostgreSQL takes connections at {postgres.url}")
        return _watch(postgres, systemd, say)
    except _Told:
        return 0
    finally:
        systemd.send(STOPPING=1)
        postgres.stop()


def _stop(_number: int, _frame: FrameType | None) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise _Told


def _watch(postgres: EmbeddedPostgres, systemd: Notifier, say: Callable[[str], None]) -> int:
    parking, ping_at = Parking(), monotonic()
    while (status := postgres.poll()) is None:
        if systemd.watchdog_s is not None and monotonic() >= ping_at and postgres.responds():
            systemd.send(WATCHDOG=1)
            ping_at = monotonic() + systemd.watchdog_s / 3
        parking.wait(POLL_S)
    say(f"PostgreSQL ended by itself with status {status}")
    return 1
