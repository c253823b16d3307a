"""/metrics: what Prometheus reads. It needs no key; who may read it is told by the client's address."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from service.api.calls import Answer, Call
from service.api.routes import Header, Media, Route
from service.errors import NotFound
from service.middleware.environ import CLIENT_ADDRESS

TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class MetricsHandlers:
    """The handler, with what it needs: `render` gives the text, `may_read` decides by an address, "" for a Unix socket."""

    def __init__(self, render: Callable[[], bytes], may_read: Callable[[str], bool]) -> None:
        self._render = render
        self._may_read = may_read

    def routes(self) -> Iterable[Route]:
        """The route."""
        yield Route(
            method="GET", path="/metrics", handler=self.show, scope=None, errors=("not_found",),
            answers={200: Media((TEXT_FORMAT,))},
            answer_headers={"Cache-Control": Header("not to be kept", {"const": "no-store"})},
            summary="The metrics in Prometheus' text format, for the networks in LEDGERD_METRICS_FROM",
        )

    def show(self, call: Call) -> Answer:
        """The metrics of all workers. Raises NotFound for whom they are not meant."""
        if not self._may_read(call.environ[CLIENT_ADDRESS]):
            raise NotFound("There is nothing at this path; docs/api.md lists what there is.")
        answer = Answer(None, Cache_Control="no-store", Content_Type=TEXT_FORMAT)
        answer.body = self._render()
        answer.headers.append(("Content-Length", str(len(answer.body))))
        return answer
