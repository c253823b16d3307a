"""When keys were last used: noted in memory by every request, written now and then, so that no request waits for it.

A worker writes every WRITE_EVERY_S seconds, and at its end; a time that another has written within as long is left as it is.
So `last_used_at` is true to a minute, and lost for as long where a worker is killed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from service.concurrency.context import Context, background, with_timeout
from service.concurrency.primitives import Parking
from service.errors import LedgerdError
from service.ledger.principal import Principal

log = logging.getLogger(__name__)

WRITE_EVERY_S = 30.0
WRITE_TIMEOUT_S = 5.0
LAST_WRITE_TIMEOUT_S = 1.0
MOST_NOTED = 16_384  # keys; in an outage that outlasts it further ones are not noted


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key was last used `age_s` seconds ago."""

    ledger_id: int
    key_id: str
    age_s: float


class KeyUseStore(Protocol):
    """What the repository does for this; times that are known to within `not_within_s` stay."""

    def note_key_uses(self, ctx: Context, uses: Sequence[KeyUse], not_within_s: float) -> None: ...


class KeyUses:
    """The uses that are not written yet."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._noted: dict[str, tuple[Principal, float]] = {}

    def note(self, principal: Principal, now: float) -> None:
        """The key is used `now`."""
        if len(self._noted) < MOST_NOTED or principal.key_id in self._noted:
            self._noted[principal.key_id] = principal, now

    def run(self, ctx: Context, store: KeyUseStore) -> None:
        """As a background task: write again and again, and once more when `ctx` has ended."""
        ended = False
        while not ended:
            ctx.park(Parking(), WRITE_EVERY_S)
            ended = ctx.error() is not None
            with with_timeout(background(), LAST_WRITE_TIMEOUT_S if ended else WRITE_TIMEOUT_S) as bounded:
                self.write(bounded, store)

    def write(self, ctx: Context, store: KeyUseStore) -> None:
        """Write what is noted; what could not be written stays noted."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        now = self._clock()
        uses = [KeyUse(who.ledger_id, who.key_id, now - at) for who, at in list(noted.values())]
        try:
            store.note_key_uses(ctx, uses, WRITE_EVERY_S)
        except LedgerdError as error:
            self._noted = noted | self._noted
            log.info("the last use of %d keys could not be written: %s", len(uses), error.message)
