"""Streams end with their key: whoever listens is let go within seconds when the key is revoked, expires or loses the scope.

A request is checked once, when it comes. A stream goes on, so each key with streams is looked at again and again, once for all
streams that it has. While nobody can be asked, they go on: then nothing can be read that could be told either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from service.concurrency.context import Context, with_timeout
from service.concurrency.primitives import Lock, Parking
from service.errors import LedgerdError, Unauthenticated
from service.events.subscription import Ending, Subscription

LOOK_EVERY_S = 1.0
LOOK_TIMEOUT_S = 2.0  # for one key


class Holder(Protocol):
    """Who holds a key."""

    def may(self, scope: str) -> bool:
        """Whether that scope is granted."""
        ...


class KeyWatch:
    """See the module. `authenticate(ctx, token)` raises Unauthenticated; `scope` is what a listener's key must hold."""

    def __init__(self, authenticate: Callable[[Context, str], Holder], scope: str, let_go: LetGo) -> None:
        self._authenticate = authenticate
        self._scope = scope
        self._let_go = let_go
        self._lock = Lock()
        self._listeners: dict[str, dict[Subscription, None]] = {}
        self._somebody = Parking()

    def add(self, token: str, listener: Subscription) -> None:
        """Let `listener` go when that key ends."""
        with self._lock:
            self._listeners.setdefault(token, {})[listener] = None
            somebody = self._somebody
        somebody.wake()

    def discard(self, token: str, listener: Subscription) -> None:
        """It listens no more."""
        with self._lock:
            of_key = self._listeners.get(token, {})
            of_key.pop(listener, None)
            if not of_key:
                self._listeners.pop(token, None)

    def run(self, ctx: Context) -> None:
        """As a background task: look at all keys again and again while there are any."""
        while ctx.error() is None:
            with self._lock:
                self._somebody = somebody = Parking()
                tokens = tuple(self._listeners)
            if tokens:
                self.look(ctx, tokens)
                ctx.park(Parking(), LOOK_EVERY_S)
            else:
                ctx.park(somebody)

    def look(self, ctx: Context, tokens: tuple[str, ...]) -> None:
        """Look at these keys, once."""
        for token in tokens:
            if ctx.error() is not None:
                return
            if not self._is_good(ctx, token):
                with self._lock:
                    listeners = tuple(self._listeners.pop(token, ()))
                for listener in listeners:
                    self._let_go(listener, Ending.KEY)

    def _is_good(self, ctx: Context, token: str) -> bool:
        try:
            with with_timeout(ctx, LOOK_TIMEOUT_S) as bounded:
                return self._authenticate(bounded, token).may(self._scope)
        except Unauthenticated:
            return False
        except LedgerdError:  # nobody can be asked just now
            return True


LetGo = Callable[[Subscription, Ending], object]
