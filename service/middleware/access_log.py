"""One log line a request: who, what, how it ended and how long it took. Nothing of bodies, queries or secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple
from wsgiref.types import WSGIEnvironment

from service.middleware.environ import CLIENT_ADDRESS, PRINCIPAL, REQUEST_ID, ROUTE, TRACE
from service.middleware.observation import Ended

LONGEST_PATH = 500  # characters; a line stays below PIPE_BUF even where each of them takes six bytes


Write = Callable[[Mapping[str, object]], object]


class Log(NamedTuple):
    """Where the lines of each level go; None where they are not wanted."""

    info: Write | None
    warning: Write | None


def access_log(log: Log) -> Ended:
    """Log each answer at info, those from 500 on, or without any, at warning."""
    def log_request(environ: WSGIEnvironment, status: int, duration_s: float, sent: int) -> None:
        write = log.info if 0 < status < 500 else log.warning
        if write is None:
            return
        principal, trace, path = environ.get(PRINCIPAL), environ.get(TRACE), environ.get("PATH_INFO", "")
        write({
            "request_id": environ.get(REQUEST_ID),
            "trace_id": None if trace is None else trace.trace_id,
            "key_id": None if principal is None else principal.key_id,
            "ledger": None if principal is None else principal.ledger_id,
            "method": environ.get("REQUEST_METHOD"),
            "route": environ.get(ROUTE),
            "path": path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "…",
            "status": status,
            "duration_ms": int(duration_s * 1e6) / 1000,
            "bytes": sent,
            "remote": environ.get(CLIENT_ADDRESS) or environ.get("REMOTE_ADDR"),
        })

    return log_request
