"""The exit statuses of `ledgerd web` and `ledgerd serve`; docs/operations.md has the table for units."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Why the server ended. Any other status is a fault of the server itself."""

    STOPPED = 0  # as it was told: every request that it took was answered
    PROBLEM = 1  # it did not start: configuration, a port that is taken; told in a line each
    # 2 is a wrong call: argparse's own
    NO_WORKER = 3  # no worker serves, and none could be started
    CUT = 4  # stopped at once: a second signal, or the deadline; what was in flight has no answer
