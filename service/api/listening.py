"""What GET /api/events and its WebSocket have in common: which events a call wants, from where on, and a place in the feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn
from wsgiref.types import WSGIEnvironment

from service.api.calls import Call, parameters, read_id
from service.api.filters import query_word
from service.api.routes import Parameter
from service.concurrency.clock import SYSTEM_CLOCK
from service.concurrency.context import background, with_cancel
from service.errors import FieldError, InvalidInput
from service.events.event import EVENT_TYPES, Filter
from service.events.feed import Feed
from service.events.key_watch import KeyWatch
from service.events.log import EventStore, check_start
from service.events.starts import Starts
from service.events.subscription import Ending, Subscription
from service.ledger.money import GREATEST_ID
from service.middleware.authentication import token_of
from service.middleware.environ import BEGIN_STREAM, STREAMED

SCOPE = "events:read"
MOST_ACCOUNTS = 100
TAKE_S = 3.0  # a client has so long to take what is told at the end; then it is cut off
REASONS = {  # with the name of the ending at most 123 bytes, for a WebSocket's last word
    Ending.SLOW: "This client did not read as fast as events happen.",
    Ending.DRAINING: "This process is about to stop.",
    Ending.KEY: "The API key is not valid any more, or may not read events.",
    Ending.RESET: "The ledger was set back to an earlier state.",
}
LAST_EVENT_ID = "Last-Event-ID"
_POSITION = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$"}
LISTENED = (
    Parameter(
        "after", "the id of the event to begin after, 0 for before the first; without it what happens from now on", _POSITION
    ),
    Parameter(
        "types", "the types that are wanted, commas between",
        {"type": "string", "pattern": "^({0})(,({0}))*$".format("|".join(kind.replace(".", r"\.") for kind in EVENT_TYPES))},
    ),
    Parameter(
        "account_id", f"accounts that the events are to be about, up to {MOST_ACCOUNTS}, commas between, or given again",
        {"type": "string", "pattern": "^[1-9][0-9]{0,17}(,[1-9][0-9]{0,17}){0,99}$"},
    ),
)
RESUMED = Parameter(LAST_EVENT_ID, "the id of the last event that has come, which goes before `after`", _POSITION)


class Place:
    """A place in the feed for as long as an answer goes on. `ctx` ends when it is closed, or cancelled."""

    def __init__(self, environ: WSGIEnvironment, subscription: Subscription, keys: KeyWatch) -> None:
        self._keys = keys
        self._token = token_of(environ)
        self.environ = environ
        self.subscription = subscription
        self.ctx = with_cancel(background())
        self._forget: Callable[[], None] = _nothing

    def begin(self) -> None:
        """The answer has begun: from now on the client is cut off where it does not take the end of it."""
        if self.subscription.until is None:
            self.environ[STREAMED] = True
        self._keys.add(self._token, self.subscription)
        cut: Callable[[], None] = self.environ.get(BEGIN_STREAM, _nothing_to_cut)()

        def cut_later() -> None:
            self._forget = SYSTEM_CLOCK.call_at(SYSTEM_CLOCK.now() + TAKE_S, cut)

        self.subscription.when_ended(cut_later)

    def close(self) -> None:
        """Give it up."""
        self._keys.discard(self._token, self.subscription)
        self.ctx.cancel()
        self.subscription.close()
        self._forget()


class Listening:
    """Opens places in `feed`, each of which ends with its key."""

    def __init__(self, feed: Feed, store: EventStore, keys: KeyWatch) -> None:
        self._keys = keys
        self._feed = feed
        self._starts = Starts(store)

    def open(self, call: Call, given: Mapping[str, str], *, follow: bool = True) -> Place:
        """A place as the query and `Last-Event-ID` have it; close it.

        Raises InvalidInput that names the field, and what Feed.subscribe raises.
        """
        wanted, after = read_filter(given), self._read_start(call, given)
        subscription = self._feed.subscribe(call.ctx, call.ledger_id, wanted, after, follow=follow)
        return Place(call.environ, subscription, self._keys)

    def _read_start(self, call: Call, given: Mapping[str, str]) -> int | None:
        """The id of the event to begin after, 0 for the beginning, None for now. Raises InvalidInput."""
        name, text = "after", given.get("after")
        if (resumed := call.environ.get("HTTP_LAST_EVENT_ID")) is not None:
            name, text = LAST_EVENT_ID, resumed
        if text is None:
            return None
        after = 0 if text == "0" else read_id(text) if text else None
        if after is None:
            _refuse(name, f"expected the id of an event, from 1 to {GREATEST_ID}, or 0 for the beginning")
        check_start(call.ctx, self._starts, call.ledger_id, after, field=name)
        return after


def listened(call: Call, *names: str) -> dict[str, str]:
    """The parameters of the query, and those of `names`. Raises InvalidInput."""
    return parameters(call, "after", "types", "account_id", *names, several=("types", "account_id"))


def read_filter(given: Mapping[str, str]) -> Filter:
    """What is wanted. Raises InvalidInput."""
    types = _words(given, "types")
    for word in types or ():
        if word not in EVENT_TYPES:
            _refuse("types", f"expected some of {', '.join(EVENT_TYPES)}, commas between")
    words = _words(given, "account_id")
    if words is not None and len(words) > MOST_ACCOUNTS:
        _refuse("account_id", f"expected at most {MOST_ACCOUNTS} ids")
    ids = None if words is None else [read_id(word) if word else None for word in words]
    if ids is not None and None in ids:
        _refuse("account_id", f"expected whole numbers from 1 to {GREATEST_ID}, commas between")
    return Filter(
        types=None if types is None else frozenset(types),
        account_ids=None if ids is None else frozenset(number for number in ids if number is not None),
    )


def read_follow(given: Mapping[str, str]) -> bool:
    """Whether to go on with what happens later. Raises InvalidInput."""
    return query_word(given, "follow", "true", "false") != "false"


def _words(given: Mapping[str, str], name: str) -> Sequence[str] | None:
    return None if name not in given else given[name].split(",")


def _refuse(name: str, message: str) -> NoReturn:
    raise InvalidInput(f"{name}: {message}.", fields=(FieldError(name, message),))


def _nothing() -> None:
    return None


def _nothing_to_cut() -> Callable[[], None]:
    return _nothing
