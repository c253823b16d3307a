"""The posting lane when the database fails: what callers may rely on, whatever happens."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.concurrency.context import background, with_timeout
from service.errors import DeadlineExceeded, Internal, OutcomeUnknown, Unavailable
from service.ledger.posting import AnswerLost, Contention, Posting
from service.ledger.transfers import Posted, PostRequest, Refused
from tests.unit.lanes import Caller, Gate, ModelStore, failing, move, wait_for_waiting


def test_a_lost_connection_is_resolved_by_key(lane: Posting, store: ModelStore) -> None:
    """After a commit whose answer was lost, a keyed request learns its outcome; one without a key is told it is unknown."""
    store.after.append(failing(AnswerLost()))
    outcome = lane.post(background(), move(5, "k"))
    assert isinstance(outcome, Posted)
    assert outcome.replayed
    store.after.append(failing(AnswerLost()))
    with pytest.raises(OutcomeUnknown):
        lane.post(background(), move(6))
    assert [row.amount for row in store.model.log] == [5, 6]


def test_a_keyed_request_survives_an_outage_after_a_lost_connection(lane: Posting, store: ModelStore) -> None:
    """That the database cannot be reached meanwhile does not make an unknown outcome a certain one."""
    store.faults += [failing(AnswerLost()), failing(Unavailable("down")), failing(Unavailable("down"))]
    assert isinstance(lane.post(background(), move(5, "k")), Posted)
    store.faults += [failing(AnswerLost())] + [failing(Unavailable("down"))] * 9
    with pytest.raises(OutcomeUnknown):
        lane.post(background(), move(6, "k2"))


def test_an_outage_before_anything_was_sent_is_certain(lane: Posting, store: ModelStore) -> None:
    """Unavailable at the first attempt: nothing was posted, and it is not tried again behind the caller's back."""
    store.faults.append(failing(Unavailable("down")))
    with pytest.raises(Unavailable):
        lane.post(background(), move())
    assert store.batches == [1]
    assert store.model.log == []


def test_contention_repeats_the_whole_batch(lane: Posting, store: ModelStore) -> None:
    """Nothing was committed, so nothing is doubled; when it does not end, the caller is told that nothing was done."""
    store.faults += [failing(Contention()), failing(Contention())]
    assert isinstance(lane.post(background(), move(5)), Posted)
    store.faults += [failing(Contention())] * 4
    with pytest.raises(Unavailable):
        lane.post(background(), move(6))
    assert [row.amount for row in store.model.log] == [5]


def test_a_fault_hits_the_one_that_causes_it(lane: Posting, store: ModelStore) -> None:
    """A batch that fails as a whole is posted one by one: neighbours are posted, the culprit gets `internal`."""

    def poisoned(requests: Sequence[PostRequest]) -> None:
        if any(request.amount == 13 for request in requests):
            raise RuntimeError("thirteen")

    gate = Gate()
    store.faults += [gate, poisoned, poisoned, poisoned, poisoned]
    callers = [Caller(lane, move(1), background())]
    assert gate.reached.wait(10)
    for n, amount in enumerate([2, 13, 3]):
        callers.append(Caller(lane, move(amount), background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert [type(caller.done().error) for caller in callers] == [type(None), type(None), Internal, type(None)]
    assert sorted(row.amount for row in store.model.log) == [1, 2, 3]


def test_a_lost_connection_parts_a_batch(lane: Posting, store: ModelStore) -> None:
    """In one batch those with a key learn their outcome, also a refusal; those without one are told it is unknown."""
    gate = Gate()
    store.faults.append(gate)
    first = Caller(lane, move(100), background())
    assert gate.reached.wait(10)
    callers = []
    for n, request in enumerate([move(1, "k"), move(2), move(999, "poor", source=2, target=1)]):
        callers.append(Caller(lane, request, background()))
        wait_for_waiting(lane, n + 1)
    store.after += [lambda _: None, failing(AnswerLost())]
    gate.open()
    first.done()
    keyed, bare, refused = (caller.done() for caller in callers)
    assert isinstance(keyed.outcome, Posted)
    assert isinstance(bare.error, OutcomeUnknown)
    assert refused.outcome == Refused("insufficient_funds", "amount")
    assert store.batches == [1, 3, 2]
    assert [row.amount for row in store.model.log] == [100, 1, 2]


def test_a_lost_connection_before_the_commit_posts_a_key_once(lane: Posting, store: ModelStore) -> None:
    """Nothing had been committed: the second attempt is the first that counts, and says so."""
    store.faults.append(failing(AnswerLost()))
    outcome = lane.post(background(), move(5, "k"))
    assert isinstance(outcome, Posted)
    assert not outcome.replayed
    assert [row.amount for row in store.model.log] == [5]


def test_a_fault_of_the_database_hits_the_one_that_causes_it(lane: Posting, store: ModelStore) -> None:
    """`internal`, which is what the repository makes of a statement that is refused, is no better known than any exception."""

    def poisoned(requests: Sequence[PostRequest]) -> None:
        if any(request.amount == 13 for request in requests):
            raise Internal("The database refused a statement.")

    gate = Gate()
    store.faults += [gate, *[poisoned] * 4]
    callers = [Caller(lane, move(1), background())]
    assert gate.reached.wait(10)
    for n, amount in enumerate([2, 13, 3]):
        callers.append(Caller(lane, move(amount), background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert [type(caller.done().error) for caller in callers] == [type(None), type(None), Internal, type(None)]
    assert [row.amount for row in store.model.log] == [1, 2, 3]


def test_a_fault_after_a_lost_connection_leaves_the_outcome_unknown(lane: Posting, store: ModelStore) -> None:
    """What may have been posted by an earlier attempt is never told as an error that says it was not."""
    store.after.append(failing(AnswerLost()))
    store.faults += [lambda _: None, failing(RuntimeError("broken"))]
    with pytest.raises(OutcomeUnknown):
        lane.post(background(), move(5, "k"))
    assert [row.amount for row in store.model.log] == [5]


def test_a_deadline_of_the_database_is_certain(lane: Posting, store: ModelStore) -> None:
    """A statement that was cancelled for its time changed nothing, and is not sent again."""
    store.faults.append(failing(DeadlineExceeded("slow")))
    with pytest.raises(DeadlineExceeded):
        lane.post(background(), move(5, "k"))
    assert store.batches == [1]
    assert store.model.log == []


def test_the_lane_goes_on_after_a_fault(lane: Posting, store: ModelStore) -> None:
    """Whatever a batch met, the next one is posted."""
    store.faults.append(failing(RuntimeError("broken")))
    with pytest.raises(Internal):
        lane.post(background(), move(1))
    assert isinstance(lane.post(background(), move(2)), Posted)


def test_a_batch_ends_with_its_last_deadline(lane: Posting, store: ModelStore) -> None:
    """While somebody waits for one of its requests it goes on; then its context ends, and so does what the store does."""
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    for n, timeout_s in enumerate([2.0, 3.0, 1.0]):
        callers.append(Caller(lane, move(), with_timeout(background(), timeout_s)))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert all(isinstance(caller.done().outcome, Posted) for caller in callers)
    alone, together = store.contexts
    assert alone.deadline is not None, "a batch of requests without a deadline has one all the same"
    assert together.deadline is not None
    assert 2.0 < together.deadline - callers[2].began_at <= 3.1


def test_nothing_is_tried_again_when_nobody_waits(lane: Posting, store: ModelStore) -> None:
    """After the last deadline a request with a key is not posted either, and the lane is free."""
    store.faults += [failing(AnswerLost())] * 3
    ctx = with_timeout(background(), 0.1)

    def outlast(_: Sequence[PostRequest]) -> None:
        ctx.done.wait(10)
        raise AnswerLost

    store.faults.append(outlast)
    with pytest.raises(OutcomeUnknown):
        lane.post(ctx, move(5, "k"))
    assert isinstance(lane.post(background(), move(1)), Posted)
    assert [row.amount for row in store.model.log] == [1]
