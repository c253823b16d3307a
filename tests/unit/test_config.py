"""Configuration: defaults, every kind of wrong setting, and nothing secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.config import Config, default_data_dir
from service.errors import ConfigurationError
from service.settings import mask_password


def test_nothing_set_is_a_good_configuration() -> None:
    """The defaults of the documentation."""
    config = Config.from_env({})
    assert (config.database_url, config.bind, config.timeout_s, config.db_max_open) == (None, "127.0.0.1:8080", 30, 25)
    assert config.data_dir == default_data_dir()
    assert config.workers >= 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGERD_WORKERS", "0"), ("LEDGERD_WORKERS", "two"), ("LEDGERD_WORKERS", "1.5"), ("LEDGERD_WORKERS", "257"),
        ("LEDGERD_WORKERS", "0000000001999"), ("LEDGERD_WORKERS", "٥"), ("LEDGERD_TIMEOUT_S", "-1"),
        ("LEDGERD_TIMEOUT_S", "0"), ("LEDGERD_TIMEOUT_S", "1e9"), ("LEDGERD_TIMEOUT_S", "nan"),
        ("LEDGERD_SHUTDOWN_TIMEOUT_S", "86401"), ("LEDGERD_DB_MAX_OPEN", "-5"), ("LEDGERD_BIND", "8080"),
        ("LEDGERD_BIND", "127.0.0.1:99999"), ("LEDGERD_BIND", "127.0.0.1:"),
        ("LEDGERD_GRPC_BIND", "8081"), ("LEDGERD_GRPC_METRICS_BIND", "x"),
        ("LEDGERD_GRPC_ADVERTISE", "no address"),
        ("LEDGERD_GRPC_THREADS", "0"), ("LEDGERD_GRPC_STREAMS", "1001"), ("LEDGERD_LOG_LEVEL", "loud"),
        ("DATABASE_URL", "mysql://host/x"), ("DATABASE_URL", "host=x"), ("DATABASE_URL", "postgresql://[x"),
        ("LEDGERD_CORS_ORIGINS", "https://a.example ftp://b.example"), ("LEDGERD_POSTING_QUEUE", "0"),
        ("LEDGERD_TRUSTED_PROXIES", "10.0.0.1/8"), ("LEDGERD_TRUSTED_PROXIES", "127.0.0.1 proxy.example"),
        ("LEDGERD_RATE_LIMIT", "0"), ("LEDGERD_RATE_LIMIT", "1000001"), ("LEDGERD_RATE_LIMIT", "1e3"),
        ("LEDGERD_RATE_BURST", "0"), ("LEDGERD_RATE_BURST", "1.5"), ("LEDGERD_ADDRESS_RATE_LIMIT", "x"),
        ("LEDGERD_ADDRESS_RATE_BURST", "-1"), ("LEDGERD_USER_CACHE", "-1"), ("LEDGERD_USER_CACHE_TTL_S", "0"),
        ("LEDGERD_ADVERTISE", "10.0.0.5"), ("LEDGERD_ADVERTISE", "ftp://h"),
        ("LEDGERD_WEBHOOK_NETWORKS", "10.0.0.1/8"), ("LEDGERD_WEBHOOK_NETWORKS", "10.0.0.0/8 intern"),
        ("LEDGERD_SEAL_INTERVAL_S", "-1"), ("LEDGERD_SEAL_INTERVAL_S", "never"),
        ("LEDGERD_LIVE_CLIENTS", "0"), ("LEDGERD_LIVE_CLIENTS", "4001"), ("LEDGERD_LIVE_HEARTBEAT_S", "0"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """One problem, which begins with the setting's name."""
    with pytest.raises(ConfigurationError) as caught:
        Config.from_env({name: value})
    (problem,) = caught.value.problems
    assert problem.startswith(name)


def test_all_problems_are_told_at_once() -> None:
    """Those of single settings and those of settings together."""
    env = {"LEDGERD_WORKERS": "x", "LEDGERD_BIND": "x", "LEDGERD_DB_MAX_OPEN": "3", "LEDGERD_DB_MIN_IDLE": "4"}
    config, problems = Config.read(env)
    assert len(problems) == 3
    assert config.db_max_open == 3


def test_a_secret_can_be_a_file(tmp_path: Path) -> None:
    """As systemd's credentials are; the environment wins."""
    (tmp_path / "database_url").write_text("postgresql://file/x\n")
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert Config.from_env(env).database_url == "postgresql://file/x"
    assert Config.from_env({**env, "DATABASE_URL": "postgresql://env/x"}).database_url == "postgresql://env/x"
    (tmp_path / "database_url").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"credential .* cannot be read"):
        Config.from_env(env)


def test_a_burst_follows_its_rate() -> None:
    """A second's worth for a key and two for an address, at least one; unless it is set."""
    config = Config.from_env({"LEDGERD_RATE_LIMIT": "2.5", "LEDGERD_ADDRESS_RATE_LIMIT": "0.1"})
    assert (config.rate_limit, config.rate_burst) == (2.5, 3)
    assert (config.address_rate_limit, config.address_rate_burst) == (0.1, 1)
    assert Config.from_env({"LEDGERD_RATE_LIMIT": "10", "LEDGERD_RATE_BURST": "500"}).rate_burst == 500
    assert Config.from_env({}).rate_burst == Config.rate_burst
    assert Config.from_env({}).address_rate_burst == Config.address_rate_burst


def test_where_processes_meet(tmp_path: Path) -> None:
    """The setting, else the folder that systemd makes, else one in the data directory."""
    env = {"LEDGERD_DATA_DIR": str(tmp_path)}
    assert Config.from_env(env).run_dir == tmp_path / "run"
    assert Config.from_env({**env, "RUNTIME_DIRECTORY": "/run/a:/run/b"}).run_dir == Path("/run/a")
    assert Config.from_env({**env, "RUNTIME_DIRECTORY": "/run/a", "LEDGERD_RUN_DIR": "/run/c"}).run_dir == Path("/run/c")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h:1/x", "postgresql://u:***@h:1/x"),
        ("postgresql://u:hun@ter2@h/x", "postgresql://u:***@h/x"),
        ("postgresql://u@h/x?password=hunter2&sslmode=require", "postgresql://u@h/x?password=***&sslmode=require"),
        ("postgresql://u@/x?host=/run/s", "postgresql://u@/x?host=/run/s"),
        ("host=h password=hunter2", "***"),
        ("postgresql://[hunter2", "***"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    """Wherever the URL has them; what is no URL is hidden as a whole."""
    assert mask_password(url) == shown
    assert "hunter2" not in str(Config(database_url=url).shown())


def test_every_setting_is_shown() -> None:
    """Under the name by which it is set."""
    shown = Config.from_env({"LEDGERD_CORS_ORIGINS": "https://a.example https://b.example"}).shown()
    assert shown["LEDGERD_CORS_ORIGINS"] == "https://a.example https://b.example"
    assert shown["DATABASE_URL"] == "(embedded PostgreSQL)"
    assert len(shown) == len(Config.__dataclass_fields__)
