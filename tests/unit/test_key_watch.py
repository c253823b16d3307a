"""Streams end with their key: who is let go, who is not, and what is asked for it."""

from __future__ import annotations

import pytest

from service.concurrency.context import Context, background
from service.concurrency.spawn import Tasks
from service.errors import Unauthenticated, Unavailable
from service.events import key_watch as key_watch_module
from service.events.feed import Feed
from service.events.key_watch import KeyWatch
from service.events.subscription import Ended, Ending, Subscription
from tests.event_log import MemoryLog
from tests.serving import wait_until
from tests.unit.test_feed import listen, told

CTX = background()


class Keys:
    """Keys by their token, each with its scopes; what is not there is not valid."""

    def __init__(self) -> None:
        self.scopes = {"one": {"events:read"}, "two": {"events:read", "users:read"}}
        self.asked: list[str] = []
        self.away = False

    def authenticate(self, ctx: Context, token: str) -> Holder:
        ctx.check()
        self.asked.append(token)
        if self.away:
            raise Unavailable("The database is away.")
        if token not in self.scopes:
            raise Unauthenticated("No such key.")
        return Holder(self.scopes[token])


class Holder:
    """Who has these scopes."""

    def __init__(self, scopes: set[str]) -> None:
        self._scopes = scopes

    def may(self, scope: str) -> bool:
        return scope in self._scopes


@pytest.fixture
def keys() -> Keys:
    """Two good ones."""
    return Keys()


@pytest.fixture
def feed() -> Feed:
    """A feed of an empty log."""
    return Feed(MemoryLog(), most=8)


@pytest.fixture
def watch(keys: Keys, feed: Feed) -> KeyWatch:
    """What looks at them."""
    return KeyWatch(keys.authenticate, "events:read", feed.let_go)


def is_let_go(listener: Subscription) -> bool:
    """Whether it is told no more because of its key."""
    try:
        return told(listener) != []
    except Ended as end:
        return end.ending is Ending.KEY


def test_all_streams_of_a_key_end_with_it(feed: Feed, watch: KeyWatch, keys: Keys) -> None:
    """And no other; each key is asked for once, however many streams it has."""
    ones, two = [listen(feed) for _ in range(3)], listen(feed)
    for one in ones:
        watch.add("one", one)
    watch.add("two", two)
    watch.look(CTX, ("one", "two"))
    assert keys.asked == ["one", "two"]
    assert not any(is_let_go(listener) for listener in (*ones, two))
    del keys.scopes["one"]
    watch.look(CTX, ("one", "two"))
    assert all(is_let_go(one) for one in ones)
    assert not is_let_go(two)
    assert feed.ended[Ending.KEY] == 3


def test_a_key_that_loses_the_scope_ends_too(feed: Feed, watch: KeyWatch, keys: Keys) -> None:
    """It is valid, but not for this."""
    listener = listen(feed)
    watch.add("two", listener)
    keys.scopes["two"] = {"users:read"}
    watch.look(CTX, ("two",))
    assert is_let_go(listener)


def test_while_nobody_can_be_asked_streams_go_on(feed: Feed, watch: KeyWatch, keys: Keys) -> None:
    """An outage ends none."""
    listener = listen(feed)
    watch.add("one", listener)
    keys.away = True
    watch.look(CTX, ("one",))
    assert not is_let_go(listener)


def test_nobody_is_asked_for_those_who_left(
    feed: Feed, watch: KeyWatch, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task asks from the first listener of a key to the last, and sleeps otherwise."""
    monkeypatch.setattr(key_watch_module, "LOOK_EVERY_S", 0.001)
    tasks = Tasks(CTX)
    tasks.spawn("keys", watch.run)
    first, second = listen(feed), listen(feed)
    assert keys.asked == []
    watch.add("one", first)
    watch.add("one", second)
    wait_until(lambda: len(keys.asked) > 3, 10, every_s=0.001)
    watch.discard("one", first)
    watch.discard("one", first)
    watch.discard("two", first)
    before = len(keys.asked)
    wait_until(lambda: len(keys.asked) > before + 3, 10, every_s=0.001)
    del keys.scopes["one"]
    wait_until(lambda: second.ending is Ending.KEY, 10, every_s=0.001)
    assert first.ending is None
    watch.discard("one", second)
    assert tasks.stop(10) == []
