"""gunicorn's log, sent the way of all others: it propagates to the root logger, which writes JSON lines."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger


class GunicornLog(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's `logger_class`, without handlers of its own."""

    def setup(self, cfg: Any) -> None:
        """Take gunicorn's levels, and not its handlers."""
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True
