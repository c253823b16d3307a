"""Configuration: defaults, every kind of wrong setting, and nothing secret shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.config import Config, default_data_dir, mask_password
from service.errors import ConfigurationError


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
        ("LEDGERD_BIND", "127.0.0.1:99999"), ("LEDGERD_BIND", "127.0.0.1:"), ("LEDGERD_LOG_LEVEL", "loud"),
        ("DATABASE_URL", "mysql://host/x"), ("DATABASE_URL", "host=x"), ("DATABASE_URL", "postgresql://[x"),
        ("LEDGERD_CORS_ORIGINS", "https://a.example ftp://b.example"), ("LEDGERD_POSTING_QUEUE", "0"),
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
