"""gunicorn's settings for ledgerd, each for a reason."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from gunicorn.app.base import BaseApplication

from service.config import MOST_CONNECTIONS, Config
from service.errors import ConfigurationError
from service.limits.folder import make_run_folder
from service.server.arbiter import LedgerArbiter
from service.server.connection import KEEPALIVE_S
from service.server.metrics import metrics_hooks
from service.telemetry.logging import configure_logging
from service.telemetry.otel import export_problems

WORKER_SILENCE_S = 30  # a worker that has not been heard of for so long is replaced


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """The application that gunicorn runs. It is made in each worker, after gevent has patched it."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Raises ConfigurationError with every problem of the settings in `env`."""
        self._env = env
        self.config = self._read()
        super().__init__()

    def _read(self) -> Config:
        config = Config.from_env(self._env)
        if config.database_url is None:
            raise ConfigurationError("DATABASE_URL is not set; `ledgerd serve` brings a database along")
        make_run_folder(config.run_dir)
        if problems := export_problems(self._env):
            raise ConfigurationError(*problems)
        return config

    def run(self) -> None:
        """Serve until a signal; ends the process with an ExitStatus."""
        configure_logging(self.config.log_level)
        LedgerArbiter(self).run()

    def read_again(self) -> None:
        """For a reload: the settings of the environment and of credential files as they are now.

        Raises ConfigurationError, and then keeps those of before.
        """
        self.config = self._read()

    def load_config(self) -> None:
        """gunicorn's hook: its settings."""
        for name, value in settings(self.config).items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """gunicorn's hook, in the worker: the WSGI application, with its pool and its tasks started."""
        from service.app import Application

        return Application(self.config).open()


def settings(config: Config) -> dict[str, Any]:
    """gunicorn's settings by name."""
    return {
        "bind": config.bind,
        "workers": config.workers,
        "worker_class": "service.server.worker.LedgerWorker",
        "worker_connections": MOST_CONNECTIONS,
        "keepalive": int(KEEPALIVE_S),  # above 0: connections are kept; for how long is the request loop's own business
        "timeout": WORKER_SILENCE_S,
        "graceful_timeout": ceil(config.shutdown_timeout_s),
        "backlog": 2048,
        "preload_app": False,  # the application must load after gevent has patched
        "http_parser": "python",  # the fast one on the index is below gunicorn's own floor
        "control_socket_disable": True,
        "accesslog": None,  # the application writes it
        "logger_class": "service.server.gunicorn_log.GunicornLog",
        "errorlog": "-",
        "loglevel": "warning" if config.log_level == "info" else config.log_level,
        "proc_name": "ledgerd",
        "worker_exit": _close,
        **metrics_hooks(config),
    }


def _close(_arbiter: Any, worker: Any) -> None:
    """In a worker that ends: post what waits and close the pool."""
    worker.close_application()
