"""Structured logs: one JSON object a line on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

POOL_WARNINGS_EVERY_S = 5.0  # each lost connection and each vain attempt would be a line


class JsonFormatter(logging.Formatter):
    """Time, level, logger, message, and what the call gave as `extra={"fields": {…}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


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


def configure_logging(level: str) -> None:
    """Send everything from `level` (debug, info, warning, error) on to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("psycopg").setLevel(logging.WARNING)
    pool = logging.getLogger("psycopg.pool")
    pool.setLevel(max(logging.WARNING, logging.root.level))
    pool.addFilter(Seldom(POOL_WARNINGS_EVERY_S))
