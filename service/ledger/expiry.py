"""Holds whose time has come are given back by the service itself: rows of the kind `expiry`, made about once a second.

Every worker looks for them and posts through its lane like anybody else. What two of them find is given back once: to the
second the hold is resolved. A hold that has expired can be neither captured nor released, whether this has come by or not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from service.concurrency.context import Context, with_timeout
from service.concurrency.primitives import Parking
from service.errors import Internal, LedgerdError
from service.ledger.transfers import Outcome, Posted, PostGroup, PostRequest

log = logging.getLogger(__name__)

EVERY_S = 1.0
MOST_AT_ONCE = 256  # of a batch of the lane, so that it takes others along
TIMEOUT_S = 10.0  # for one round


class ExpiryStore(Protocol):
    """What the repository does for this: requests to give back up to `limit` expired holds, the longest expired first."""

    def find_expired(self, ctx: Context, limit: int) -> Sequence[PostRequest]: ...


class Expiry:
    """The background task; `on_expired` is told how many holds it has given back."""

    def __init__(self, store: ExpiryStore, post_group: PostGroup, on_expired: Callable[[int], None] = lambda _: None) -> None:
        self._store = store
        self._post_group = post_group
        self._on_expired = on_expired

    def run(self, ctx: Context) -> None:
        """Look again and again until `ctx` ends; at once where there may be more."""
        while ctx.error() is None:
            found = 0
            try:
                with with_timeout(ctx, TIMEOUT_S) as bounded:
                    found = self.give_back(bounded)
            except LedgerdError as error:
                log.info("expired holds could not be given back, and are looked for again: %s", error.message)
            if found < MOST_AT_ONCE:
                ctx.park(Parking(), EVERY_S)

    def give_back(self, ctx: Context) -> int:
        """Give back what has expired, MOST_AT_ONCE holds at most; returns how many were found."""
        requests = self._store.find_expired(ctx, MOST_AT_ONCE)
        if requests:
            try:
                outcomes = self._post_group(ctx, requests)
            except Internal:  # one of them is to blame: the others shall not wait for it
                outcomes = [outcome for request in requests for outcome in self._alone(ctx, request)]
            self._on_expired(sum(isinstance(outcome, Posted) for outcome in outcomes))
        return len(requests)

    def _alone(self, ctx: Context, request: PostRequest) -> Sequence[Outcome]:
        try:
            return self._post_group(ctx, (request,))
        except Internal:
            log.error("hold %s of ledger %s has expired and cannot be given back", request.resolves_id, request.ledger_id)
            return ()
