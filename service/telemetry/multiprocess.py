"""The folder in which the workers of an instance add up their metrics, and which of them writes which files in it.

The arbiter makes the folder before it has workers, and gives each a number that no living one has; a worker's files are named
by it. So one that takes over a number counts on where the one before has ended, and there are never more files than workers
at a time. When a worker ends, its gauges end too: nobody is left whom they could be about.

The arbiter must not import prometheus_client: it would be loaded before gevent has patched the workers.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path

from service.errors import ConfigurationError

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own name for it
NUMBER = "LEDGERD_WORKER_NUMBER"
_PREFIX = "metrics-"


def make_folder(below: Path, env: MutableMapping[str, str]) -> Path:
    """Make this process's own folder in `below`, empty, and name it in `env`; those of processes that are gone are removed.

    Raises ConfigurationError where that cannot be.
    """
    folder = below / f"{_PREFIX}{os.getpid()}"
    try:
        for other in below.glob(f"{_PREFIX}*"):
            if other == folder or _is_gone(other.name.removeprefix(_PREFIX)):
                shutil.rmtree(other, ignore_errors=other != folder)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigurationError(
            f"the metrics of several workers need a folder, and {folder} cannot be made: {error.strerror};"
            " set LEDGERD_RUN_DIR to where it can, or LEDGERD_METRICS=off"
        ) from None
    env[FOLDER] = str(folder)
    return folder


def remove_folder(env: MutableMapping[str, str]) -> None:
    """At the end of the process that has made it."""
    if (folder := env.pop(FOLDER, None)) is not None:
        shutil.rmtree(folder, ignore_errors=True)


def free_number(taken: Iterable[int]) -> int:
    """The lowest number that no living worker has."""
    used, number = set(taken), 1
    while number in used:
        number += 1
    return number


def forget_gauges(folder: str, number: int) -> None:
    """The worker with this number has ended."""
    for path in Path(folder).glob(f"gauge_live*_{number}.db"):
        with suppress(FileNotFoundError):
            path.unlink()


def _is_gone(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError, OverflowError):
        return False
    return False
