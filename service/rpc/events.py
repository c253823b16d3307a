"""LedgerService.StreamEvents: the live feed of /api/events as a stream of messages, one an event.

What a stream holds is a thread, a place among the streams and one in the feed, and no connection of the database. It ends
when the client leaves or its deadline passes, when the process is to stop, when the client does not keep up, and within
seconds when its key is not valid any more.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from struct import Struct
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from service.api.calls import Call
from service.api.listening import REASONS, Listening
from service.api.representation import show_event
from service.api.routes import check_scopes
from service.concurrency.context import Context
from service.errors import LedgerdError, Overloaded, Unauthenticated, Unavailable
from service.events.event import Event
from service.events.subscription import Ended, Ending, Subscription
from service.middleware.environ import PRINCIPAL
from service.rpc.environ import LIFE, read_message
from service.rpc.translation import fill, parse, to_values
from service.rpc.v1 import ledger_pb2

SCOPES = frozenset({"events:read"})
CHECK_S = 1.0  # between two looks at the key

_LENGTH = Struct(">I")
_NAMES = {"account_ids": "account_id"}  # as HTTP's parameters have them


class EventStream:
    """The behaviour of the method. `authenticate` tells who holds a token, as for every call."""

    def __init__(self, listening: Listening, authenticate: Callable[[Context, str], Any]) -> None:
        self._listening = listening
        self._authenticate = authenticate

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Begin a stream. Raises Forbidden, InvalidInput that names the field, Overloaded or Unavailable."""
        check_scopes(SCOPES, environ[PRINCIPAL].scopes)
        values = to_values(parse(ledger_pb2.StreamEventsRequest, read_message(environ)))
        follow = values.pop("follow", True)
        given = {_NAMES.get(name, name): _text(value) for name, value in values.items()}
        subscription = self._listening.open(Call(environ), given, follow=follow).subscription
        start_response("200 OK", [])
        return self._events(environ, subscription)

    def _events(self, environ: WSGIEnvironment, subscription: Subscription) -> Generator[bytes, None, None]:
        life: Context = environ[LIFE]
        subscription.when_ended(lambda: life.cancel(_error_of(subscription.ending)))  # also while a message waits to be read
        checked_at = life.clock.now()
        try:
            while True:
                if life.clock.now() - checked_at >= CHECK_S:
                    self._check_key(environ)
                    checked_at = life.clock.now()
                try:
                    batches = subscription.next(life, CHECK_S)
                except TimeoutError:
                    continue
                for batch in batches:
                    yield from _split(batch.shown(show))
        except Ended as end:
            if end.ending is not Ending.COMPLETE:
                raise _error_of(end.ending) from None
        finally:
            subscription.close()

    def _check_key(self, environ: WSGIEnvironment) -> None:
        """Raise Unauthenticated where the key is not valid any more. While nobody can be asked, the stream goes on."""
        token = environ["HTTP_AUTHORIZATION"].partition(" ")[2].strip()
        try:
            principal = self._authenticate(environ[LIFE], token)
        except (Unavailable, Overloaded):
            return
        check_scopes(SCOPES, principal.scopes)


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
