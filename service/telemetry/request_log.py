"""The logger for a line a request, by structlog: no records, no handlers."""

from __future__ import annotations

import time
from typing import cast

import structlog
from structlog.typing import EventDict, WrappedLogger

from service.middleware.access_log import Log
from service.telemetry.gathered import Gathered
from service.telemetry.logging import stamp, to_json
from service.telemetry.output import Output

LOGGER = "ledgerd.access"


def request_logger(level: str, output: Output | Gathered) -> Log:
    """It writes from `level` (debug, info, warning, error) on."""
    wrapped = structlog.wrap_logger(
        _Lines(output),
        processors=[_render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    return cast(Log, wrapped.bind())


class _Lines:
    """What structlog calls with the finished line, whatever its level."""

    def __init__(self, output: Output | Gathered) -> None:
        self.info = self.warning = output.write


def _render(_logger: WrappedLogger, level: str, event: EventDict) -> bytes:
    line = {"time": stamp(time.time()), "level": level, "logger": LOGGER, "message": event["event"], **event["fields"]}
    return to_json(line) + b"\n"
