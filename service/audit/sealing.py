"""The background task that seals what is settled.

It runs in every worker of every host, and the database's lock lets one make a seal at a time. A ledger is due when it has a
settled row without a seal and its last seal is `interval_s` old, or when it has MOST_ROWS such rows. A round makes at most
MOST_SEALS, each a transaction of its own that locks no account; while more is due the next round follows after BUSY_PAUSE_S.
So a long log that was never sealed is caught up without harm to posting.
"""

from __future__ import annotations

import logging
from typing import Protocol

from service.audit.seal import MOST_ROWS
from service.concurrency.context import Context, with_timeout
from service.concurrency.primitives import Parking, monotonic
from service.errors import LedgerdError

log = logging.getLogger(__name__)

MOST_SEALS = 8  # a round
ROUND_TIMEOUT_S = 60.0
BUSY_PAUSE_S = 1.0
LONGEST_PAUSE_S = 5.0


class SealingStore(Protocol):
    """What the repository does for this."""

    def seal_due(self, ctx: Context, *, interval_s: float, most_rows: int, most_seals: int) -> int: ...
    def find_unsealed_age_s(self, ctx: Context) -> float: ...


class Sealing:
    """See the module."""

    def __init__(self, store: SealingStore, *, interval_s: float) -> None:
        self._store = store
        self._interval_s = interval_s
        self._pause_s = min(max(interval_s / 10, 0.05), LONGEST_PAUSE_S)
        self._since: float | None = None  # when the oldest row without a seal was made, on the monotonic clock
        self._complained = False

    @property
    def unsealed_age_s(self) -> float:
        """How old the oldest row without a seal is. It grows by itself while the database cannot be asked."""
        return 0.0 if self._since is None else monotonic() - self._since

    def run(self, ctx: Context) -> None:
        """As a background task: seal until `ctx` ends."""
        pause_s = self._pause_s
        while ctx.error() is None:
            ctx.park(Parking(), pause_s)
            if ctx.error() is None:
                pause_s = BUSY_PAUSE_S if self._round(ctx) == MOST_SEALS else self._pause_s

    def _round(self, ctx: Context) -> int:
        made = 0
        try:
            with with_timeout(ctx, ROUND_TIMEOUT_S) as bounded:
                made = self._store.seal_due(
                    bounded, interval_s=self._interval_s, most_rows=MOST_ROWS, most_seals=MOST_SEALS
                )
                age_s = self._store.find_unsealed_age_s(bounded)
        except LedgerdError as error:
            if ctx.error() is None and not self._complained:
                self._complained = True
                log.warning("nothing is sealed, for now: %s", error.message)
            return made
        self._since = monotonic() - age_s if age_s > 0 else None
        if self._complained:
            self._complained = False
            log.info("the log is sealed again")
        return made
