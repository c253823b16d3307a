"""The feed held against what it promises, in any order of steps: each listener is told exactly what it began for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.concurrency.context import background
from service.events.event import Filter
from service.events.feed import Feed
from service.events.subscription import Ended, Ending, Subscription
from tests.event_log import MemoryLog
from tests.unit.test_feed import listen, told

CTX = background()
LEDGERS = st.integers(1, 3)
WANTED = st.sampled_from([Filter(), Filter(account_ids=frozenset({1})), Filter(types=frozenset({"account.created"}))])


class Listener:
    """One listener, where it began, and what it has been told."""

    def __init__(self, subscription: Subscription, began: int) -> None:
        self.subscription = subscription
        self.began = began
        self.told: list[int] = []

    def take(self) -> None:
        """All that is there for it now."""
        self.told += told(self.subscription)

    def take_one(self) -> None:
        """The next there is, which may be one page of many."""
        try:
            batches = self.subscription.next(CTX, 0.0)
        except TimeoutError:
            return
        self.told += [event.id for batch in batches for event in batch.events]


class FeedMachine(RuleBasedStateMachine):
    """Events happen and commit late, listeners come, read, do not read and leave, also while the feed reads a page."""

    def __init__(self) -> None:
        super().__init__()
        self.log = MemoryLog()
        self.feed = Feed(self.log, most=6)
        self.listeners: list[Listener] = []
        self.small = {"PAGE": 3, "MOST_KEPT": 7, "KEPT": 10, "FURTHER_BEHIND": 2}
        self.before = {name: getattr(_module(), name) for name in self.small}
        for name, value in self.small.items():
            setattr(_module(), name, value)

    def teardown(self) -> None:
        """Everything that is promised, when all has committed and been told; then all leave."""
        try:
            for event_id in sorted(self.log.running):
                self.log.commit(event_id)
            for _ in range(3):
                self.feed.look(CTX)
                for listener in self.listeners:
                    listener.take()
            for listener in self.listeners:
                assert listener.told == self.expected(listener)
                listener.subscription.close()
            assert (self.feed.clients, self.feed._told) == (0, {})
        finally:
            for name, value in self.before.items():
                setattr(_module(), name, value)

    def expected(self, listener: Listener) -> list[int]:
        """All that it wants after the one that it began after."""
        of = listener.subscription
        return [event.id for event in self.log.of(of.ledger_id, listener.began) if of.wanted.wants(event)]

    @rule(ledger_id=LEDGERS, account_id=st.integers(1, 2), number=st.integers(1, 9))
    def happen(self, ledger_id: int, account_id: int, number: int) -> None:
        for _ in range(number):
            self.log.add(ledger_id, account_id)

    @rule()
    def draw(self) -> None:
        self.log.draw()

    @precondition(lambda self: self.log.running)
    @rule(data=st.data(), ledger_id=LEDGERS, gives_up=st.booleans())
    def commit(self, data: Any, ledger_id: int, gives_up: bool) -> None:
        event_id = data.draw(st.sampled_from(sorted(self.log.running)))
        if gives_up:
            self.log.running.discard(event_id)
        else:
            self.log.commit(event_id, ledger_id)

    @precondition(lambda self: len(self.listeners) < 6)
    @rule(data=st.data(), ledger_id=LEDGERS, wanted=WANTED)
    def come(self, data: Any, ledger_id: int, wanted: Filter) -> None:
        after = data.draw(st.sampled_from([None, 0, *(event.id for event in self.log.of(ledger_id))]))
        subscription = listen(self.feed, after, wanted, ledger_id)
        self.listeners.append(Listener(subscription, subscription.position))

    @precondition(lambda self: self.listeners)
    @rule(data=st.data())
    def take(self, data: Any) -> None:
        data.draw(st.sampled_from(self.listeners)).take()

    @precondition(lambda self: self.listeners)
    @rule(data=st.data())
    def take_one(self, data: Any) -> None:
        data.draw(st.sampled_from(self.listeners)).take_one()

    @precondition(lambda self: self.listeners)
    @rule(data=st.data())
    def leave(self, data: Any) -> None:
        self._leave(data.draw(st.sampled_from(self.listeners)))

    @rule()
    def look(self) -> None:
        self.feed.look(CTX)

    @precondition(lambda self: self.listeners)
    @rule(data=st.data())
    def look_while_others_act(self, data: Any) -> None:
        """Between the reading of each page and what is done with it, one of the listeners reads or leaves."""
        acting = data.draw(st.lists(st.tuples(st.sampled_from(self.listeners), st.sampled_from("trl")), max_size=4))
        self.log.meanwhile = [lambda who=who, what=what: self._act(who, what) for who, what in acting]
        self.feed.look(CTX)
        self.log.meanwhile = []

    @rule()
    def fail(self) -> None:
        self.log.broken = True
        assert not self.feed.look(CTX)
        self.log.broken = False

    @invariant()
    def nobody_is_told_too_much(self) -> None:
        for listener in self.listeners:
            assert listener.told == self.expected(listener)[: len(listener.told)] or self.log.running

    def _act(self, who: Listener, what: str) -> None:
        if who not in self.listeners:
            return
        if what == "l":
            self._leave(who)
        elif what == "t":
            who.take()
        else:
            who.take_one()

    def _leave(self, who: Listener) -> None:
        self.listeners.remove(who)
        who.subscription.close()


def _module() -> Any:
    from service.events import feed

    return feed


FeedMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_the_feed_keeps_its_promises = FeedMachine.TestCase


def test_whoever_was_let_go_comes_back_to_where_it_was() -> None:
    """What it had been told, and what it is told then, is all there is."""
    log = MemoryLog()
    feed = Feed(log, most=2)
    for _ in range(3):
        log.add()
    slow = Listener(listen(feed, after=0), 0)
    slow.take()
    feed.look(CTX)
    slow.take()
    while slow.subscription.ending is None:
        log.add()
        feed.look(CTX)
    with pytest.raises(Ended) as end:
        slow.take()
    assert end.value.ending is Ending.SLOW
    assert len(slow.told) == 3
    slow.subscription.close()
    again = Listener(listen(feed, after=slow.told[-1]), slow.told[-1])
    again.take()
    feed.look(CTX)
    again.take()
    assert slow.told + again.told == [event.id for event in log.of()]
