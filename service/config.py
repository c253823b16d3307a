"""The configuration: read once from the environment, checked as a whole, then passed inward as one frozen value.

A secret may also be a file of its name (in lower case) in `$CREDENTIALS_DIRECTORY`, as systemd's LoadCredential= makes it;
the environment variable wins.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from service.errors import ConfigurationError
from service.events.address import ADDRESS_SHAPE, is_address
from service.limits.bucket import burst_of
from service.networks import is_network
from service.settings import Reader, is_origin, is_postgres_url, is_proxy, mask_password

LOG_LEVELS = ("debug", "info", "warning", "error")
DISPATCHER_CONNECTIONS = 6  # at most: one for the task that decides, the others for workers that read an event again
GREATEST_BURST = 2_000_000  # requests
SYSTEM_STATE = Path("/var/lib/ledgerd")
MOST_CONNECTIONS = 4096  # of clients to a worker


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting, in the units of its name."""

    database_url: str | None = None
    replica_urls: tuple[str, ...] = ()
    data_dir: Path = Path("var")
    bind: str = "127.0.0.1:8080"
    advertise: str = ""
    grpc_bind: str | None = None
    grpc_metrics_bind: str | None = None
    grpc_advertise: str = ""
    grpc_threads: int = 64
    grpc_streams: int = 32
    workers: int = 1
    timeout_s: float = 30.0
    shutdown_timeout_s: float = 30.0
    boot_timeout_s: float = 60.0
    log_level: str = "info"
    db_max_open: int = 25
    db_min_idle: int = 5
    db_max_lifetime_s: float = 300.0
    db_max_idle_s: float = 600.0
    posting_queue: int = MOST_CONNECTIONS
    user_cache: int = 10_000
    user_cache_ttl_s: float = 600.0
    search_timeout_s: float = 2.0
    replica_max_lag_s: float = 5.0
    hedge_after_s: float | None = None
    export_timeout_s: float = 3600.0
    import_timeout_s: float = 3600.0
    seal_interval_s: float = 60.0
    live_clients: int = 2000
    live_heartbeat_s: float = 15.0
    cors_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    run_dir: Path = Path("var/run")
    rate_limit: float = 100_000.0
    rate_burst: int = 100_000
    address_rate_limit: float = 1000.0
    address_rate_burst: int = 2000
    metrics: str = "on"
    metrics_from: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    dispatcher: str = "on"
    dispatcher_metrics_bind: str | None = None
    webhook_networks: tuple[str, ...] = ()
    webhook_timeout_s: float = 10.0
    webhook_attempts: int = 25
    webhook_backoff_s: float = 5.0
    webhook_backoff_cap_s: float = 21_600.0
    webhook_breaker_s: float = 30.0
    webhook_lease_s: int = 15
    webhook_workers: int = 32
    webhook_target_workers: int = 8
    postgres_bin: Path | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Config:
        """Read the settings from `env` (usually os.environ).

        Raises ConfigurationError with every problem at once.
        """
        config, problems = cls.read(env)
        if problems:
            raise ConfigurationError(*problems)
        return config

    @classmethod
    def read(cls, env: Mapping[str, str]) -> tuple[Config, list[str]]:
        """The settings in `env`, with the default for each that is wrong, and every problem in a sentence."""
        reader = Reader(env)
        data_dir = Path(os.path.abspath(reader.text("LEDGERD_DATA_DIR", "") or default_data_dir()))
        rate = reader.rate("LEDGERD_RATE_LIMIT", cls.rate_limit)
        address_rate = reader.rate("LEDGERD_ADDRESS_RATE_LIMIT", cls.address_rate_limit)
        config = cls(
            database_url=reader.secret("DATABASE_URL"),
            replica_urls=tuple((reader.secret("DATABASE_REPLICA_URLS") or "").split()),
            data_dir=data_dir,
            run_dir=reader.run_dir(data_dir),
            bind=reader.text("LEDGERD_BIND", cls.bind),
            advertise=reader.text("LEDGERD_ADVERTISE", cls.advertise),
            grpc_bind=reader.text("LEDGERD_GRPC_BIND", "") or None,
            grpc_metrics_bind=reader.text("LEDGERD_GRPC_METRICS_BIND", "") or None,
            grpc_advertise=reader.text("LEDGERD_GRPC_ADVERTISE", cls.grpc_advertise),
            grpc_threads=reader.integer("LEDGERD_GRPC_THREADS", cls.grpc_threads, 1, 1000),
            grpc_streams=reader.integer("LEDGERD_GRPC_STREAMS", cls.grpc_streams, 1, 1000),
            workers=reader.integer("LEDGERD_WORKERS", len(os.sched_getaffinity(0)), 1, 256),
            timeout_s=reader.seconds("LEDGERD_TIMEOUT_S", cls.timeout_s),
            shutdown_timeout_s=reader.seconds("LEDGERD_SHUTDOWN_TIMEOUT_S", cls.shutdown_timeout_s),
            boot_timeout_s=reader.seconds("LEDGERD_BOOT_TIMEOUT_S", cls.boot_timeout_s),
            log_level=reader.text("LEDGERD_LOG_LEVEL", cls.log_level).lower(),
            db_max_open=reader.integer("LEDGERD_DB_MAX_OPEN", cls.db_max_open, 1, 1000),
            db_min_idle=reader.integer("LEDGERD_DB_MIN_IDLE", cls.db_min_idle, 0, 1000),
            db_max_lifetime_s=reader.seconds("LEDGERD_DB_MAX_LIFETIME_S", cls.db_max_lifetime_s),
            db_max_idle_s=reader.seconds("LEDGERD_DB_MAX_IDLE_S", cls.db_max_idle_s),
            posting_queue=reader.integer("LEDGERD_POSTING_QUEUE", cls.posting_queue, 1, 100_000),
            replica_max_lag_s=reader.seconds("LEDGERD_REPLICA_MAX_LAG_S", cls.replica_max_lag_s),
            hedge_after_s=reader.seconds("LEDGERD_HEDGE_AFTER_S", 1.0) if reader.text("LEDGERD_HEDGE_AFTER_S", "") else None,
            user_cache=reader.integer("LEDGERD_USER_CACHE", cls.user_cache, 0, 1_000_000),
            user_cache_ttl_s=reader.seconds("LEDGERD_USER_CACHE_TTL_S", cls.user_cache_ttl_s),
            search_timeout_s=reader.seconds("LEDGERD_SEARCH_TIMEOUT_S", cls.search_timeout_s),
            export_timeout_s=reader.seconds("LEDGERD_EXPORT_TIMEOUT_S", cls.export_timeout_s),
            import_timeout_s=reader.seconds("LEDGERD_IMPORT_TIMEOUT_S", cls.import_timeout_s),
            seal_interval_s=reader.seconds("LEDGERD_SEAL_INTERVAL_S", cls.seal_interval_s, or_off=True),
            live_clients=reader.integer("LEDGERD_LIVE_CLIENTS", cls.live_clients, 1, MOST_CONNECTIONS - 96),
            live_heartbeat_s=reader.seconds("LEDGERD_LIVE_HEARTBEAT_S", cls.live_heartbeat_s),
            cors_origins=tuple(reader.text("LEDGERD_CORS_ORIGINS", "").split()),
            trusted_proxies=tuple(reader.text("LEDGERD_TRUSTED_PROXIES", "").split()),
            rate_limit=rate,
            rate_burst=reader.integer("LEDGERD_RATE_BURST", burst_of(rate), 1, GREATEST_BURST),
            address_rate_limit=address_rate,
            address_rate_burst=reader.integer("LEDGERD_ADDRESS_RATE_BURST", burst_of(2 * address_rate), 1, GREATEST_BURST),
            metrics=reader.text("LEDGERD_METRICS", cls.metrics).lower(),
            metrics_from=tuple(reader.text("LEDGERD_METRICS_FROM", " ".join(cls.metrics_from)).split()),
            **_read_webhooks(reader),
            postgres_bin=Path(path) if (path := reader.text("LEDGERD_POSTGRES_BIN", "")) else None,
        )
        return config, [*reader.problems, *config.problems()]

    def problems(self) -> list[str]:
        """What cannot work in the settings taken together, one sentence each."""
        found = [
            f"{name}: {word!r} is no {kind}; expected such as {examples}"
            for name, words, is_good, kind, examples in (
                ("LEDGERD_CORS_ORIGINS", self.cors_origins, is_origin, "origin", "https://app.example.com"),
                ("LEDGERD_TRUSTED_PROXIES", self.trusted_proxies, is_proxy, "network", "10.0.0.0/8, 192.0.2.7, ::1 or unix:"),
                ("LEDGERD_WEBHOOK_NETWORKS", self.webhook_networks, is_network, "network", "10.0.0.0/8, 192.0.2.7 or ::1"),
                ("LEDGERD_METRICS_FROM", self.metrics_from, is_network, "network", "10.0.0.0/8, 192.0.2.7 or ::1"),
            )
            for word in words
            if not is_good(word)
        ]
        for name, address in (("ADVERTISE", self.advertise), ("GRPC_ADVERTISE", self.grpc_advertise)):
            if address not in ("", "off") and not is_address(address):
                found.append(f"LEDGERD_{name}={address!r}: expected {ADDRESS_SHAPE}, or off")
        binds = (
            ("BIND", self.bind), ("GRPC_BIND", self.grpc_bind), ("GRPC_METRICS_BIND", self.grpc_metrics_bind),
            ("DISPATCHER_METRICS_BIND", self.dispatcher_metrics_bind),
        )
        for number, (name, bind) in enumerate(binds):
            host, _, port = (bind or "localhost:0").rpartition(":")
            if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
                found.append(f"LEDGERD_{name}={bind!r}: expected HOST:PORT, such as 127.0.0.1:{8080 + number}")
        for name, word, words in (
            ("LOG_LEVEL", self.log_level, LOG_LEVELS), ("METRICS", self.metrics, ("on", "off")),
            ("DISPATCHER", self.dispatcher, ("on", "off")),
        ):
            if word not in words:
                found.append(f"LEDGERD_{name}={word!r}: expected one of {', '.join(words)}")
        if self.db_min_idle > self.db_max_open:
            found.append(f"LEDGERD_DB_MIN_IDLE={self.db_min_idle} is above LEDGERD_DB_MAX_OPEN={self.db_max_open}")
        if self.database_url and not is_postgres_url(self.database_url):
            found.append("DATABASE_URL: expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
        for number, url in enumerate(self.replica_urls, 1):
            if not is_postgres_url(url):
                found.append(f"DATABASE_REPLICA_URLS: the address {number} is none; expected postgresql://USER@HOST/DATABASE")
        if self.replica_urls and self.database_url is None:
            found.append("DATABASE_REPLICA_URLS is set without DATABASE_URL: the embedded PostgreSQL has no replicas")
        return found

    @property
    def connections(self) -> int:
        """How many to the database all may hold: each worker and gRPC a pool and one that listens, and the dispatcher."""
        pools = self.workers + (self.grpc_bind is not None)
        return pools * (self.db_max_open + 1) + (DISPATCHER_CONNECTIONS if self.dispatcher == "on" else 0)

    def shown(self) -> dict[str, object]:
        """The settings under their names, with secrets masked: fit for a screen or a log."""
        shown: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "database_url":
                shown["DATABASE_URL"] = mask_password(value) if value else "(embedded PostgreSQL)"
            elif field.name == "replica_urls":
                shown["DATABASE_REPLICA_URLS"] = " ".join(map(mask_password, value))
            else:
                plain = isinstance(value, (int, float, str)) or value is None
                text = " ".join(value) if isinstance(value, tuple) else str(value)
                shown["LEDGERD_" + field.name.upper()] = value if plain else text
        return shown


def _read_webhooks(reader: Reader) -> dict[str, Any]:
    """The settings of the dispatcher."""
    return {
        "dispatcher": reader.text("LEDGERD_DISPATCHER", Config.dispatcher).lower(),
        "dispatcher_metrics_bind": reader.text("LEDGERD_DISPATCHER_METRICS_BIND", "") or None,
        "webhook_networks": tuple(reader.text("LEDGERD_WEBHOOK_NETWORKS", "").split()),
        "webhook_timeout_s": reader.seconds("LEDGERD_WEBHOOK_TIMEOUT_S", Config.webhook_timeout_s),
        "webhook_attempts": reader.integer("LEDGERD_WEBHOOK_ATTEMPTS", Config.webhook_attempts, 1, 1000),
        "webhook_backoff_s": reader.seconds("LEDGERD_WEBHOOK_BACKOFF_S", Config.webhook_backoff_s),
        "webhook_backoff_cap_s": reader.seconds("LEDGERD_WEBHOOK_BACKOFF_CAP_S", Config.webhook_backoff_cap_s),
        "webhook_breaker_s": reader.seconds("LEDGERD_WEBHOOK_BREAKER_S", Config.webhook_breaker_s),
        "webhook_lease_s": reader.integer("LEDGERD_WEBHOOK_LEASE_S", Config.webhook_lease_s, 2, 3600),
        "webhook_workers": reader.integer("LEDGERD_WEBHOOK_WORKERS", Config.webhook_workers, 1, 1000),
        "webhook_target_workers": reader.integer("LEDGERD_WEBHOOK_TARGET_WORKERS", Config.webhook_target_workers, 1, 1000),
    }


def default_data_dir() -> Path:
    """`var` in the working folder.

    For root in a folder that other users cannot enter (/root, say) it is a folder of this checkout's own under
    /var/lib/ledgerd, since PostgreSQL refuses to run as root and its own user could not reach the data.
    """
    here = Path.cwd()
    if os.geteuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in (here, *here.parents)):
        return here / "var"
    return SYSTEM_STATE / f"{here.name}-{hashlib.sha256(bytes(here)).hexdigest()[:8]}"
