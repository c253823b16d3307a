"""/healthz: the process lives. /readyz: it can serve. Neither needs a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.api.answers import StateAnswer
from service.api.calls import Answer, Call
from service.api.routes import Route
from service.concurrency.context import Context
from service.errors import Unavailable


class HealthHandlers:
    """The handlers, with what they need: `check` raises Unavailable, `draining` tells that the process is to stop."""

    def __init__(self, check: Callable[[Context], None], draining: Callable[[], bool]) -> None:
        self._check = check
        self._draining = draining

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/healthz", handler=self.live, scope=None, summary="200 while the process answers at all",
            answers={200: StateAnswer()},
        )
        yield Route(
            method="GET", path="/readyz", handler=self.ready, scope=None,
            summary="200 while the database answers, has every migration, and the process is not to stop",
            answers={200: StateAnswer()}, errors=("unavailable",),
        )

    def live(self, _call: Call) -> Answer:
        """200 while the process answers at all."""
        return Answer({"status": "ok"})

    def ready(self, call: Call) -> Answer:
        """200 while the database answers, has every migration, and the process is not to stop."""
        if self._draining():
            raise Unavailable("The service is stopping.", retry_after_s=1)
        self._check(call.ctx)
        return Answer({"status": "ready"})
