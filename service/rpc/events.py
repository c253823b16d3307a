"""LedgerService.StreamEvents: the live feed of /api/events as a stream of messages, one an event.

What a stream holds is a thread, a place among the streams and one in the feed, and no connection of the database. It ends
when the client leaves or its deadline passes, when the process is to stop, when the client does not keep up, and within
seconds when its key is not valid any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from struct import Struct
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from service.api.calls import Call
from service.api.listening import REASONS, SCOPE, Listening, Place
from service.api.representation import show_event
from service.api.routes import check_scopes
from service.concurrency.context import Context
from service.errors import LedgerdError, Overloaded, Unauthenticated, Unavailable
from service.events.event import Event
from service.events.subscription import Ended, Ending
from service.middleware.environ import PRINCIPAL
from service.rpc.environ import LIFE, read_message
from service.rpc.translation import fill, parse, to_values
from service.rpc.v1 import ledger_pb2

SCOPES = frozenset({SCOPE})
LONGEST_WAIT_S = 60.0  # then it waits again

_LENGTH = Struct(">I")
_NAMES = {"account_ids": "account_id"}  # as HTTP's parameters have them


class EventStream:
    """The behaviour of the method."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Begin a stream. Raises Forbidden, InvalidInput that names the field, Overloaded or Unavailable."""
        check_scopes(SCOPES, environ[PRINCIPAL].scopes)
        values = to_values(parse(ledger_pb2.StreamEventsRequest, read_message(environ)))
        follow = values.pop("follow", True)
        given = {_NAMES.get(name, name): _text(value) for name, value in values.items()}
        place = self._listening.open(Call(environ), given, follow=follow)
        start_response("200 OK", [])
        return _Stream(place, environ[LIFE])


class _Stream:
    """The messages; whoever has them closes it, whatever became of it. Its iteration raises why it ends."""

    def __init__(self, place: Place, life: Context) -> None:
        self._place = place
        self._life = life

    def __iter__(self) -> Iterator[bytes]:
        subscription, life = self._place.subscription, self._life
        self._place.begin()
        subscription.when_ended(lambda: life.cancel(_error_of(subscription.ending)))  # also while a message waits to be read
        try:
            while True:
                with suppress(TimeoutError):
                    for batch in subscription.next(life, LONGEST_WAIT_S):
                        yield from _split(batch.shown(show))
        except Ended as end:
            if end.ending is not Ending.COMPLETE:
                raise _error_of(end.ending) from None

    def close(self) -> None:
        """Give up the place in the feed."""
        self._place.close()


def show(events: Sequence[Event]) -> bytes:
    """The messages of events in a row, each after its length: made once for all streams that want the same."""
    messages = [fill(ledger_pb2.Event(), show_event(event)).SerializeToString() for event in events]
    return b"".join(_LENGTH.pack(len(message)) + message for message in messages)


def _split(messages: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(messages):
        begin = at + _LENGTH.size
        at = begin + _LENGTH.unpack_from(messages, at)[0]
        yield messages[begin:at]


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _error_of(ending: Ending | None) -> LedgerdError:
    reason = REASONS.get(ending or Ending.DRAINING, REASONS[Ending.DRAINING])
    if ending is Ending.KEY:
        return Unauthenticated(reason)
    if ending is Ending.SLOW:
        return Overloaded(reason + " Resume after the last event that came.", retry_after_s=1)
    return Unavailable(reason + " Resume after the last event that came.", retry_after_s=1)
