"""The feed on a log in memory, one step at a time: who is told what, who is let go, and what it costs nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service.concurrency.context import background, with_cancel, with_timeout
from service.concurrency.spawn import Tasks
from service.errors import ClientClosedRequest, DeadlineExceeded, Overloaded, Unavailable
from service.events import feed as feed_module
from service.events.event import Event, Filter
from service.events.feed import KEPT, MOST_KEPT, PAGE, PAGES_AT_ONCE, Feed
from service.events.subscription import WAITING, Ended, Ending, Subscription
from tests.core.calls import Call
from tests.event_log import MemoryLog
from tests.serving import wait_until

CTX = background()
ALL = Filter()


@pytest.fixture
def log() -> MemoryLog:
    """An empty log."""
    return MemoryLog()


@pytest.fixture
def feed(log: MemoryLog) -> Feed:
    """A feed that looks when the test says so."""
    return Feed(log, most=8)


def listen(feed: Feed, after: int | None = None, wanted: Filter = ALL, ledger_id: int = 1, **more: bool) -> Subscription:
    """A listener; the feed looks for it."""
    call = Call(feed.subscribe, CTX, ledger_id, wanted, after, **more)
    while not call.ended:
        feed.look(CTX)
    listener = call.result()
    assert isinstance(listener, Subscription)
    return listener


def told(listener: Subscription) -> list[int]:
    """The ids of all that it is told now."""
    found: list[int] = []
    while True:
        position = listener.position
        try:
            found += [event.id for batch in listener.next(CTX, 0.0) for event in batch.events]
        except TimeoutError:
            if listener.position == position:  # it was no page without anything that is wanted
                return found


def ids(events: list[Event]) -> list[int]:
    """Their ids."""
    return [event.id for event in events]


def test_what_happens_is_told_to_all(feed: Feed, log: MemoryLog) -> None:
    """To each that listens, once, in order; nothing of before."""
    log.add()
    listeners = [listen(feed) for _ in range(3)]
    for listener in listeners:
        assert told(listener) == []
    happened = [log.add().id for _ in range(5)]
    feed.look(CTX)
    for listener in listeners:
        assert told(listener) == happened


@pytest.mark.parametrize("number", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE, MOST_KEPT, MOST_KEPT + 1, 2 * MOST_KEPT + 7])
def test_the_past_joins_the_present(feed: Feed, log: MemoryLog, number: int) -> None:
    """However long it is, with what happens meanwhile."""
    for _ in range(number):
        log.add()
    listener = listen(feed, after=0)
    found = []
    for _ in range(3):
        log.add()
        found += told(listener)
        feed.look(CTX)
        found += told(listener)
    assert found == ids(log.of())


def test_a_flood_in_one_ledger_leaves_others_their_turn(feed: Feed, log: MemoryLog) -> None:
    """A look tells a part of it, and ends; the next ones tell the rest."""
    flooded, other = listen(feed, ledger_id=1), listen(feed, ledger_id=2)
    assert told(flooded) == told(other) == []
    for _ in range(PAGE * PAGES_AT_ONCE + 1):
        log.add(1)
    (last,) = [log.add(2).id]
    feed.look(CTX)
    assert told(other) == [last]
    found = told(flooded)
    assert len(found) == PAGE * PAGES_AT_ONCE
    feed.look(CTX)
    assert found + told(flooded) == ids(log.of(1))


@pytest.mark.parametrize("page", [1, 3, 4])
def test_one_may_join_at_every_place(feed: Feed, log: MemoryLog, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """Before what is still kept, at its edge and within it, while another listens all the time."""
    monkeypatch.setattr(feed_module, "PAGE", page)
    monkeypatch.setattr(feed_module, "MOST_KEPT", 7)
    first = listen(feed)
    assert told(first) == []
    everything = []
    for _ in range(20):
        everything.append(log.add().id)
        feed.look(CTX)
    assert told(first) == everything
    for place, event_id in enumerate((0, *everything)):
        listener = listen(feed, after=event_id)
        assert told(listener) == everything[place:]
        listener.close()


def test_those_who_come_back_need_not_read(feed: Feed, log: MemoryLog) -> None:
    """The first sets where the feed begins, with some room: others who stood a little behind are told by it."""
    for _ in range(100):
        log.add()
    first, behind = listen(feed, after=90), listen(feed, after=40)
    assert (told(first), told(behind)) == ([], [])
    reads: list[None] = []
    log.meanwhile += [lambda: reads.append(None)] * 50
    feed.look(CTX)
    assert (told(first), told(behind)) == (list(range(91, 101)), list(range(41, 101)))
    assert len(reads) == 1


def test_what_commits_late_is_waited_for(feed: Feed, log: MemoryLog) -> None:
    """A later id is not told before an earlier one that may still come."""
    listener = listen(feed)
    assert told(listener) == []
    early, late = log.draw(), log.draw()
    log.commit(late)
    feed.look(CTX)
    assert told(listener) == []
    log.commit(early)
    feed.look(CTX)
    assert told(listener) == [early, late]


def test_one_may_begin_after_what_is_not_settled(feed: Feed, log: MemoryLog) -> None:
    """As after the id that a transfer was just answered with: it is not told again."""
    running, own = log.draw(), log.add().id
    listener = listen(feed, after=own)
    assert told(listener) == []
    log.commit(running)
    following = log.add().id
    feed.look(CTX)
    assert told(listener) == [following]


def test_a_join_while_the_feed_reads(feed: Feed, log: MemoryLog) -> None:
    """Between the reading of a page and its being told, a listener joins, and another of the same ledger leaves."""
    log.add()
    first, second, third = listen(feed, after=0), listen(feed, after=0), listen(feed)
    before = told(first)
    assert told(third) == []
    found: list[int] = []
    log.meanwhile += [lambda: found.extend(told(second)), third.close]
    log.add()
    feed.look(CTX)
    assert before + told(first) == ids(log.of())
    assert found + told(second) == ids(log.of())


def test_a_ledger_that_is_left_and_joined_while_the_feed_reads(feed: Feed, log: MemoryLog) -> None:
    """What was read for those who left is not told to one who stands elsewhere."""
    for _ in range(5):
        log.add()
    first, second = listen(feed), listen(feed, after=2)
    assert told(first) == []
    found: list[int] = []

    def change_places() -> None:
        first.close()
        found.extend(told(second))

    log.meanwhile.append(change_places)
    log.add()
    feed.look(CTX)
    feed.look(CTX)
    assert found + told(second) == [3, 4, 5, 6]


def test_ledgers_are_apart(feed: Feed, log: MemoryLog) -> None:
    """Each is told of its own, also where nothing happened in one of them."""
    one, two = listen(feed, ledger_id=1), listen(feed, ledger_id=2)
    assert (told(one), told(two)) == ([], [])
    for round_number in range(4):
        mine = log.add(1).id
        others = [log.add(2).id for _ in range(round_number)]
        feed.look(CTX)
        assert (told(one), told(two)) == ([mine], others)


def test_filters_choose(feed: Feed, log: MemoryLog) -> None:
    """Whoever wants the same is given the very same batch."""
    wanted = Filter(account_ids=frozenset({2}))
    first, second, other = listen(feed, wanted=wanted), listen(feed, wanted=wanted), listen(feed, wanted=Filter(frozenset()))
    for listener in (first, second, other):
        assert told(listener) == []
    log.add(account_id=1)
    chosen = log.add(account_id=2)
    feed.look(CTX)
    batches = [listener.next(CTX, 0.0) for listener in (first, second)]
    assert batches[0][0] is batches[1][0]
    assert list(batches[0][0].events) == [chosen]
    assert told(other) == []


def test_who_does_not_read_is_let_go(feed: Feed, log: MemoryLog) -> None:
    """When as much waits as may; it is told so at once, what waited is dropped, and the others are told all."""
    slow, quick = listen(feed), listen(feed)
    for listener in (slow, quick):
        assert told(listener) == []
    ended = []
    slow.when_ended(lambda: ended.append(True))
    found = []
    for _ in range(WAITING + 1):
        assert ended == []
        log.add()
        feed.look(CTX)
        found += told(quick)
    assert ended == [True]
    with pytest.raises(Ended) as end:
        slow.next(CTX, 0.0)
    assert end.value.ending is Ending.SLOW
    assert found == ids(log.of())
    assert feed.ended[Ending.SLOW] == 1
    slow.close()
    again = listen(feed, after=0)
    assert told(again) == ids(log.of())


def test_there_are_so_many_places(feed: Feed) -> None:
    """Each is free again when its listener is closed, twice or once."""
    listeners = [listen(feed) for _ in range(8)]
    assert feed.clients == 8
    with pytest.raises(Overloaded):
        feed.subscribe(CTX, 1, ALL, None)
    for _ in range(2):
        listeners[0].close()
    assert feed.clients == 7
    listen(feed)
    with pytest.raises(Overloaded):
        feed.subscribe(CTX, 1, ALL, None)


def test_a_place_is_given_back_where_the_call_ends(feed: Feed) -> None:
    """Its time was up before the feed had looked."""
    for _ in range(20):
        with pytest.raises(DeadlineExceeded), with_timeout(CTX, 0.001) as ctx:
            feed.subscribe(ctx, 1, ALL, None)
    assert feed.clients == 0
    listen(feed)


def test_a_log_that_cannot_be_read(feed: Feed, log: MemoryLog) -> None:
    """Who wants to begin is told; who listens waits, and misses nothing."""
    behind, there = listen(feed, after=0), listen(feed)
    assert told(there) == []
    log.broken = True
    call = Call(feed.subscribe, CTX, 1, ALL, None)
    while not call.ended:
        assert not feed.look(CTX)
    with pytest.raises(Unavailable):
        call.result()
    log.broken = False
    log.add()
    assert feed.look(CTX)
    assert told(there) == told(behind) == ids(log.of())


def test_a_drain_lets_all_go(feed: Feed, log: MemoryLog) -> None:
    """After what they were told before; nobody is taken any more."""
    there, behind = listen(feed), listen(feed, after=0)
    assert told(there) == []
    last = log.add().id
    feed.look(CTX)
    feed.drain()
    assert [event.id for batch in there.next(CTX, 0.0) for event in batch.events] == [last]
    for listener in (there, behind):
        with pytest.raises(Ended) as end:
            listener.next(CTX, 0.0)
        assert end.value.ending is Ending.DRAINING
    with pytest.raises(Unavailable):
        feed.subscribe(CTX, 1, ALL, None)


def test_a_database_that_was_set_back(feed: Feed, log: MemoryLog) -> None:
    """What was told may never have happened: all begin anew."""
    listener = listen(feed)
    assert told(listener) == []
    log.add()
    feed.look(CTX)
    log.last_id = 0
    log.events.clear()
    feed.look(CTX)
    told_before = listener.next(CTX, 0.0)
    assert len(told_before) == 1
    with pytest.raises(Ended) as end:
        listener.next(CTX, 0.0)
    assert end.value.ending is Ending.RESET


def test_a_listener_ends_with_its_context(feed: Feed) -> None:
    """Be it waiting, or just about to."""
    listener = listen(feed)
    with with_cancel(CTX) as ctx:
        call = Call(listener.next, ctx, 20.0)
        ctx.cancel()
        for end in (call.result, lambda: listener.next(ctx, 20.0)):
            with pytest.raises(ClientClosedRequest):
                end()


def test_what_is_kept_is_bounded(feed: Feed, log: MemoryLog) -> None:
    """For each ledger, for all together, and nothing for those that nobody listens to."""
    listeners = [listen(feed, ledger_id=number) for number in range(1, 9)]
    for listener in listeners:
        assert told(listener) == []
    for number in range(2 * MOST_KEPT + 500):
        log.add(1 + number % 8 if number % 2 else 1)
        if number % 50 == 0:
            feed.look(CTX)
            for listener in listeners:
                told(listener)
    feed.look(CTX)
    kept = {ledger_id: told_of.number for ledger_id, told_of in feed._told.items()}
    assert max(kept.values()) <= MOST_KEPT
    assert sum(kept.values()) <= KEPT
    for listener in listeners:
        listener.close()
    assert feed._told == {}


@contextmanager
def running(feed: Feed) -> Iterator[None]:
    """Its task runs for the block."""
    tasks = Tasks(background())
    tasks.spawn("feed", feed.run)
    try:
        yield
    finally:
        assert tasks.stop(10) == []


def test_the_log_is_left_alone_while_nobody_listens(
    feed: Feed, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read from the first listener to the last, and by nobody before or after."""
    looks = []
    advance = log.advance
    monkeypatch.setattr(feed_module, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(log, "advance", lambda ctx: (looks.append(1), advance(ctx))[1])
    with running(feed):
        assert looks == []
        listener = feed.subscribe(CTX, 1, ALL, None)
        wait_until(lambda: len(looks) > 5, 10, every_s=0.001)
        happened = log.add().id
        assert [event.id for batch in listener.next(CTX, 10.0) for event in batch.events] == [happened]
        listener.close()

        def is_quiet() -> bool:
            before = len(looks)
            with with_timeout(CTX, 0.05) as pause:
                pause.done.wait()
            return len(looks) == before

        wait_until(is_quiet, 10)
        feed.subscribe(CTX, 1, ALL, None).close()
