"""Structured logs: one JSON object a line on standard error, by structlog, also for what uses the standard library's loggers.

A line break or another control character in a value is escaped by JSON, so nothing that a client sends can begin a line.

The arbiter imports this module, so it must not import service.concurrency: see service.server.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from typing import Any, cast

import orjson
import structlog
from structlog.typing import EventDict, ExcInfo, WrappedLogger

from service.telemetry.output import Output, standard_error

POOL_WARNINGS_EVERY_S = 5.0  # each lost connection and each vain attempt would be a line


class Seldom(logging.Filter):
    """Lets a message pass, whatever its arguments, only once in `every_s`: what repeats many times a second says no more."""

    def __init__(self, every_s: float) -> None:
        super().__init__()
        self._every_s = every_s
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` passes."""
        if record.created - self._passed.get(record.msg, 0.0) < self._every_s:
            return False
        self._passed[record.msg] = record.created
        return True


class LineHandler(logging.Handler):
    """Writes what the standard library's loggers are given as lines of the same form."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        self.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[_describe, _to_text]))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line for `record`."""
        try:
            self._output.write(self.format(record).encode() + b"\n")
        except Exception:  # noqa: BLE001  # logging's own way: what cannot be told must not break who tells it
            self.handleError(record)


def configure_logging(level: str) -> None:
    """Send everything from `level` (debug, info, warning, error) on to standard error."""
    logging.basicConfig(level=level.upper(), handlers=[LineHandler(standard_error())], force=True)
    logging.captureWarnings(True)
    logging.getLogger("psycopg").setLevel(logging.WARNING)
    for name in ("opentelemetry", "urllib3"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
    pool = logging.getLogger("psycopg.pool")
    pool.setLevel(max(logging.WARNING, logging.root.level))
    pool.addFilter(Seldom(POOL_WARNINGS_EVERY_S))


def _describe(_logger: WrappedLogger, level: str, event: EventDict) -> EventDict:
    """Time, level, logger, message, what the call gave as `extra={"fields": {…}}`, and the traceback of an exception."""
    record: logging.LogRecord = event["_record"]
    line: dict[str, Any] = {
        "time": stamp(record.created), "level": level, "logger": record.name, "message": event["event"],
        **getattr(record, "fields", {}),
    }
    if exc_info := cast(ExcInfo | None, event.get("exc_info")):
        line["exception"] = "".join(traceback.format_exception(*exc_info)).rstrip("\n")
    return line


def _to_text(_logger: WrappedLogger, _level: str, event: EventDict) -> str:
    return to_json(event).decode()


def to_json(line: EventDict) -> bytes:
    """`line` as JSON, whatever is in it."""
    try:
        return orjson.dumps(line, default=str)
    except TypeError:  # what orjson does not take: half a surrogate pair, a number of more than 64 bits, a key of a number
        return json.dumps(line, default=str).encode()


_last = (0, "")


def stamp(at: float) -> str:
    """`at` in UTC, to the millisecond; what is the same for a second is made once."""
    global _last  # noqa: PLW0603  # a cache of one value a process
    whole, last = int(at), _last
    if last[0] != whole:
        last = _last = (whole, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)))
    return f"{last[1]}.{int((at - whole) * 1000):03d}Z"
