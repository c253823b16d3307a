"""The posting lane on the model of the rules: batches, bounds, deadlines, the end."""

from __future__ import annotations

import math

import pytest

from service.concurrency.context import background, with_cancel, with_timeout
from service.errors import ClientClosedRequest, DeadlineExceeded, OutcomeUnknown, Overloaded, Unavailable
from service.ledger import posting
from service.ledger.posting import Posting
from service.ledger.transfers import Posted, Refused
from tests.core.clock import ManualClock
from tests.unit.lanes import Caller, Gate, Lanes, ModelStore, move, wait_for_waiting


def test_those_that_wait_together_are_one_batch(lane: Posting, store: ModelStore) -> None:
    """While one batch is at the database, the next gathers; each caller gets its own outcome."""
    gate = Gate()
    store.faults.append(gate)
    first = Caller(lane, move(100), background())
    assert gate.reached.wait(10)
    others = []
    for n, request in enumerate([move(1), move(500, source=2, target=1), move(2), move(3)]):
        others.append(Caller(lane, request, background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert isinstance(first.done().outcome, Posted)
    assert [type(caller.done().outcome) for caller in others] == [Posted, Refused, Posted, Posted]
    assert store.batches == [1, 4]


def test_a_full_channel_is_told_at_once(lane: Posting, store: ModelStore) -> None:
    """Overloaded with a time to come back; those accepted finish."""
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    for n in range(4):
        callers.append(Caller(lane, move(), background()))
        wait_for_waiting(lane, n + 1)
    with pytest.raises(Overloaded) as caught:
        lane.post(background(), move())
    assert caught.value.retry_after_s == 1
    with pytest.raises(Overloaded):
        lane.check_room()
    gate.open()
    assert all(isinstance(caller.done().outcome, Posted) for caller in callers)
    lane.check_room()


@pytest.mark.parametrize(("soon_s", "room"), [(0.0, 2), (math.inf, 4)])
def test_fewer_may_wait_where_their_turn_does_not_come_soon(lanes: Lanes, store: ModelStore, soon_s: float, room: int) -> None:
    """With room for 4, and for 2 when it is slow; afterwards there is room again."""
    lane = lanes(capacity=4, most_when_slow=2, soon_s=soon_s)
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    for n in range(room):
        callers.append(Caller(lane, move(), background()))
        wait_for_waiting(lane, n + 1)
    for refused in (lane.check_room, lambda: lane.post(background(), move())):
        with pytest.raises(Overloaded):
            refused()
    gate.open()
    assert all(isinstance(caller.done().outcome, Posted) for caller in callers)
    assert isinstance(lane.post(background(), move()), Posted)


def test_what_waited_too_long_is_not_posted(lane: Posting, store: ModelStore) -> None:
    """A deadline that passes in the channel is DeadlineExceeded, and the request is dropped."""
    gate = Gate()
    store.faults.append(gate)
    first = Caller(lane, move(), background())
    assert gate.reached.wait(10)
    late = Caller(lane, move(7), with_timeout(background(), 0.02)).done()
    assert isinstance(late.error, DeadlineExceeded)
    gate.open()
    first.done()
    Caller(lane, move(), background()).done()
    assert [row.amount for row in store.model.log] == [1, 1]


def test_what_is_under_way_has_an_unknown_outcome(lane: Posting, store: ModelStore) -> None:
    """A deadline that passes while the batch is at the database is OutcomeUnknown; the same key tells afterwards."""
    gate = Gate()
    store.faults.append(gate)
    late = Caller(lane, move(7, "k"), with_timeout(background(), 0.05))
    assert gate.reached.wait(10)
    assert isinstance(late.done().error, OutcomeUnknown)
    gate.open()
    again = lane.post(background(), move(7, "k"))
    assert isinstance(again, Posted)
    assert again.replayed


def test_closing_posts_what_waits_and_refuses_the_rest(lane: Posting, store: ModelStore) -> None:
    """Nobody who was accepted is forgotten."""
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    callers.append(Caller(lane, move(), background()))
    wait_for_waiting(lane, 1)
    lane.close()
    with pytest.raises(Unavailable):
        lane.post(background(), move())
    gate.open()
    assert all(isinstance(caller.done().outcome, Posted) for caller in callers)


def test_a_caller_whose_time_is_up_is_not_heard() -> None:
    """An ended context is told before anything is sent."""
    lane = Posting(ModelStore(), capacity=1, longest_s=5)
    ctx = with_timeout(background(), 0.0)
    with pytest.raises(DeadlineExceeded):
        lane.post(ctx, move())
    assert lane._waiting.statistics().buffered == 0


def test_a_cancelled_caller_is_told_its_cause(lane: Posting, store: ModelStore) -> None:
    """While the request waits nothing is posted, and the error is that of the context."""
    gate, ctx = Gate(), with_cancel(background())
    store.faults.append(gate)
    first = Caller(lane, move(), background())
    assert gate.reached.wait(10)
    left = Caller(lane, move(7), ctx)
    wait_for_waiting(lane, 1)
    ctx.cancel(ClientClosedRequest("gone"))
    assert isinstance(left.done().error, ClientClosedRequest)
    gate.open()
    first.done()
    assert lane.post(background(), move())
    assert [row.amount for row in store.model.log] == [1, 1]


def test_a_deadline_that_passed_unnoticed_is_seen_by_the_lane(lane: Posting, store: ModelStore) -> None:
    """Though the caller still waits (its timer is late), a request whose time is up is not posted."""
    gate, clock = Gate(), ManualClock()
    store.faults.append(gate)
    first = Caller(lane, move(), background())
    assert gate.reached.wait(10)
    late = Caller(lane, move(7), with_timeout(background(clock), 60))
    wait_for_waiting(lane, 1)
    clock.turn(61.0)
    gate.open()
    assert isinstance(late.done().error, DeadlineExceeded)
    first.done()
    assert [row.amount for row in store.model.log] == [1]


def test_a_batch_has_a_bound(monkeypatch: pytest.MonkeyPatch, lane: Posting, store: ModelStore) -> None:
    """More than MOST_IN_A_BATCH that wait are several batches."""
    monkeypatch.setattr(posting, "MOST_IN_A_BATCH", 3)
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    for n in range(4):
        callers.append(Caller(lane, move(), background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert all(isinstance(caller.done().outcome, Posted) for caller in callers)
    assert store.batches == [1, 3, 1]


def test_requests_are_posted_in_the_order_they_came(lane: Posting, store: ModelStore) -> None:
    """So that a client who sends one after the other finds them in that order."""
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(1), background())]
    assert gate.reached.wait(10)
    for n, amount in enumerate([4, 2, 3]):
        callers.append(Caller(lane, move(amount), background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    for caller in callers:
        caller.done()
    assert [row.amount for row in store.model.log] == [1, 4, 2, 3]


def test_closing_twice_does_nothing(lane: Posting) -> None:
    """The end of the process may come from several sides."""
    lane.close()
    lane.close()
    with pytest.raises(Unavailable) as caught:
        lane.post(background(), move())
    assert caught.value.retry_after_s == 1


def test_a_lane_is_in_use_until_a_while_after_the_last_request(monkeypatch: pytest.MonkeyPatch, lane: Posting) -> None:
    """So bulk work makes room for single transfers that follow one another, and for none that was long ago."""
    now = posting.monotonic() + 2 * posting.RECENT_S
    monkeypatch.setattr(posting, "monotonic", lambda: now)
    assert not lane.is_in_use()
    lane.post(background(), move(1))
    assert lane.is_in_use()
    now += 2 * posting.RECENT_S
    assert not lane.is_in_use()
