"""/api/events: what happens in a ledger, as Server-Sent Events, for as long as the client listens.

The form is that of https://html.spec.whatwg.org/multipage/server-sent-events.html: `id` is the event's id, `event` its type,
`data` its JSON. What is told of the stream itself has no `id`, so what a client resumes from stays the last event that came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import uniform

from service.api.calls import Answer, Call, to_json
from service.api.listening import LISTENED, REASONS, RESUMED, SCOPE, Listening, Place, listened, read_follow
from service.api.representation import show_event
from service.api.routes import Header, Media, Parameter, Route
from service.errors import ClientClosedRequest
from service.events.batch import show_all
from service.events.event import EVENT_TYPES, Event
from service.events.subscription import Ended, Ending
from service.middleware.deadline import end_with_client

RETRY_S = 0.5, 3.0  # when to come back, chosen at random: not all at once
HEARTBEAT = b": heartbeat\n\n"
_FOLLOW = Parameter(
    "follow", "`false`: end with what there is now; otherwise the answer has no end",
    {"type": "string", "enum": ["true", "false"]},
)
_MESSAGE = {  # of the stream; before version 3.2 of OpenAPI it is a stream's `schema`
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[1-9][0-9]*$"},
        "event": {"type": "string", "enum": [*EVENT_TYPES, "draining", "dropped"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "retry": {"type": "integer"},
    },
}
NAMES = {Ending.DRAINING: b"draining", **dict.fromkeys((Ending.SLOW, Ending.KEY, Ending.RESET), b"dropped")}


class EventHandlers:
    """The handler, with what it needs. `heartbeat_s` is the longest silence on a stream."""

    def __init__(self, listening: Listening, *, heartbeat_s: float) -> None:
        self._listening = listening
        self._heartbeat_s = heartbeat_s

    def routes(self) -> Iterable[Route]:
        """The route."""
        yield Route(
            method="GET", path="/api/events", handler=self.stream, scope=SCOPE,
            summary="What happens in the ledger, from any event on and for as long as the client listens",
            query=(*LISTENED, _FOLLOW), headers=(RESUMED,), answers={200: Media(("text/event-stream",), _MESSAGE)},
            answer_headers={
                "Cache-Control": Header("a stream is not to be kept"),
                "X-Accel-Buffering": Header("`no`: nginx is to pass on each event at once"),
            },
            errors=("overloaded",),
        )

    def stream(self, call: Call) -> Answer:
        """200 with a stream."""
        given = listened(call, "follow")
        answer = Answer(
            None, 200, Content_Type="text/event-stream", Cache_Control="no-store", X_Accel_Buffering="no"
        )
        place = self._listening.open(call, given, follow=read_follow(given))
        if call.environ["REQUEST_METHOD"] == "HEAD":
            place.close()
            return answer.without_length()
        answer.body = _Stream(place, self._heartbeat_s)
        return answer


class _Stream:
    """The body; the server closes it, whatever became of it."""

    def __init__(self, place: Place, heartbeat_s: float) -> None:
        self._place = place
        self._heartbeat_s = heartbeat_s

    def __iter__(self) -> Iterator[bytes]:
        end_with_client(self._place.environ, self._place.ctx)
        self._place.begin()
        if self._place.subscription.until is None:
            yield b"retry: %d\n\n" % (uniform(*RETRY_S) * 1000)  # noqa: S311  # nosec B311  # no secret
        try:
            yield from self._events()
        except ClientClosedRequest:
            return
        except Ended as end:
            if end.ending is not Ending.COMPLETE:
                yield _show_end(end.ending)

    def _events(self) -> Iterator[bytes]:
        while True:
            try:
                batches = self._place.subscription.next(self._place.ctx, self._heartbeat_s)
            except TimeoutError:
                yield HEARTBEAT
            else:
                yield show_all(batches, show)

    def close(self) -> None:
        """Give up the place in the feed."""
        self._place.close()


def show(events: Sequence[Event]) -> bytes:
    """Events as they stand in a stream."""
    return b"".join(
        b"id: %d\nevent: %b\ndata: %b\n\n" % (event.id, event.type.encode(), to_json(show_event(event))) for event in events
    )


def _show_end(ending: Ending) -> bytes:
    data = to_json({"reason": ending.value, "detail": REASONS[ending]})
    return b"event: %b\ndata: %b\n\n" % (NAMES[ending], data)
