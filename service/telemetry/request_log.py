"""The log lines of requests: no records, no handlers, since there is one for each of many thousands a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from logging import getLevelNamesMapping

from service.middleware.access_log import Log
from service.telemetry.gathered import Gathered
from service.telemetry.logging import stamp, to_json
from service.telemetry.output import Output

LOGGER = "ledgerd.access"


def request_logger(level: str, output: Output | Gathered) -> Log:
    """It writes from `level` (debug, info, warning, error) on."""
    least = getLevelNamesMapping()[level.upper()]
    return Log(
        *(_writer(name, output) if getLevelNamesMapping()[name.upper()] >= least else None for name in ("info", "warning"))
    )


def _writer(level: str, output: Output | Gathered) -> Callable[[Mapping[str, object]], None]:
    def write(fields: Mapping[str, object]) -> None:
        line = {"time": stamp(time.time()), "level": level, "logger": LOGGER, "message": "request", **fields}
        output.write(to_json(line) + b"\n")

    return write
