"""gunicorn's hooks for metrics over all workers: the folder they share, and the number that each has in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from service.config import Config
from service.limits.folder import make_run_folder
from service.telemetry.multiprocess import FOLDER, NUMBER, forget_gauges, free_number, make_folder, remove_folder


def metrics_hooks(config: Config) -> dict[str, Callable[..., None]]:
    """The hooks by gunicorn's names for them; none where metrics are off. They keep what they know on gunicorn's objects."""
    if config.metrics == "off":
        return {}

    def on_starting(_arbiter: Any) -> None:
        make_folder(make_run_folder(config.run_dir), os.environ)

    return {
        "on_starting": on_starting,
        "pre_fork": _number_worker,
        "post_fork": _tell_worker,
        "child_exit": _forget_worker,
        "on_exit": _remove_folder,
    }


def _number_worker(arbiter: Any, worker: Any) -> None:
    worker.metrics_number = free_number(other.metrics_number for other in arbiter.WORKERS.values())


def _tell_worker(_arbiter: Any, worker: Any) -> None:
    os.environ[NUMBER] = str(worker.metrics_number)


def _forget_worker(_arbiter: Any, worker: Any) -> None:
    forget_gauges(os.environ[FOLDER], worker.metrics_number)


def _remove_folder(_arbiter: Any) -> None:
    remove_folder(os.environ)
