"""/healthz: the process lives. /readyz: it can serve. Neither needs a key."""

from __future__ import annotations

from collections.abc import Callable
from wsgiref.types import WSGIEnvironment

from flask import Blueprint

from service.api.calls import Answer, view
from service.concurrency.context import Context
from service.errors import Unavailable
from service.middleware.environ import CONTEXT


class HealthHandlers:
    """The handlers, with what they need: `check` raises Unavailable, `draining` tells that the process is to stop."""

    def __init__(self, check: Callable[[Context], None], draining: Callable[[], bool]) -> None:
        self._check = check
        self._draining = draining

    def blueprint(self) -> Blueprint:
        """The routes."""
        routes = Blueprint("health", __name__)
        routes.add_url_rule("/healthz", "live", view(self.live), methods=["GET"])
        routes.add_url_rule("/readyz", "ready", view(self.ready), methods=["GET"])
        return routes

    def live(self, _environ: WSGIEnvironment) -> Answer:
        """200 while the process answers at all."""
        return Answer({"status": "ok"})

    def ready(self, environ: WSGIEnvironment) -> Answer:
        """200 while the database answers, has every migration, and the process is not to stop."""
        if self._draining():
            raise Unavailable("The service is stopping.", retry_after_s=1)
        self._check(environ[CONTEXT])
        return Answer({"status": "ready"})
