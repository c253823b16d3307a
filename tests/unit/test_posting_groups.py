"""The posting lane with requests that are handed in together: never split, with one promise, and harmless to others."""

from __future__ import annotations

import pytest

from service.concurrency.context import background, with_timeout
from service.errors import DeadlineExceeded, Internal, OutcomeUnknown
from service.ledger import posting
from service.ledger.posting import AnswerLost, Posting
from service.ledger.transfers import Posted, Refused, link
from tests.unit.lanes import Caller, Gate, ModelStore, failing, move, wait_for_waiting


def test_those_together_are_one_batch_with_an_outcome_each(lane: Posting, store: ModelStore) -> None:
    """Linked or not; in the order of the requests."""
    outcomes = lane.post_group(background(), [move(5), move(9, source=2, target=1), move(3)])
    assert [type(outcome) for outcome in outcomes] == [Posted, Refused, Posted]
    linked = lane.post_group(background(), link([move(5), move(99, source=2, target=1)]))
    assert linked == [Refused("insufficient_funds", "amount", 1)] * 2
    assert store.batches == [3, 2]


def test_a_batch_is_cut_between_jobs_alone(
    monkeypatch: pytest.MonkeyPatch, lane: Posting, store: ModelStore
) -> None:
    """What would pass the bound with the next job is posted without it; nothing is cut in two."""
    monkeypatch.setattr(posting, "MOST_IN_A_BATCH", 4)
    gate = Gate()
    store.faults.append(gate)
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    for n, number in enumerate([3, 2, 2, 4]):
        callers.append(Caller(lane, [move()] * number, background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert [len(caller.done().outcomes) for caller in callers[1:]] == [3, 2, 2, 4]
    assert store.batches == [1, 3, 4, 4]


def test_more_than_a_batch_is_refused_at_once(lane: Posting, store: ModelStore) -> None:
    """It could not be posted in one."""
    with pytest.raises(ValueError, match="513 requests are more than a batch has: 512"):
        lane.post_group(background(), [move()] * 513)
    assert store.batches == []


def test_a_group_whose_time_is_up_is_left_out_as_a_whole(lane: Posting, store: ModelStore) -> None:
    """Nothing of it is posted."""
    gate = Gate()
    store.faults.append(gate)
    first = Caller(lane, move(), background())
    assert gate.reached.wait(10)
    late = Caller(lane, [move(7), move(8)], with_timeout(background(), 0.02)).done()
    assert isinstance(late.error, DeadlineExceeded)
    gate.open()
    first.done()
    assert [row.amount for row in store.model.log] == [1]


def test_after_a_lost_answer_a_group_with_a_key_is_asked_for_again(lane: Posting, store: ModelStore) -> None:
    """It is replayed as a whole; one without a key is told that its outcome is unknown."""
    store.after.append(failing(AnswerLost()))
    outcomes = lane.post_group(background(), link([move(5, "k"), move(6, "k")]))
    assert [isinstance(outcome, Posted) and outcome.replayed for outcome in outcomes] == [True, True]
    assert [row.amount for row in store.model.log] == [5, 6]
    store.after.append(failing(AnswerLost()))
    with pytest.raises(OutcomeUnknown):
        lane.post_group(background(), link([move(5), move(6)]))


def test_a_fault_of_a_group_hits_it_alone(lane: Posting, store: ModelStore) -> None:
    """Its neighbours are posted."""
    gate = Gate()
    store.faults += [gate, failing(RuntimeError("a row is broken")), failing(RuntimeError("this one"))]
    callers = [Caller(lane, move(), background())]
    assert gate.reached.wait(10)
    for n, request in enumerate([link([move(2), move(3)]), move(4)]):
        callers.append(Caller(lane, request, background()))
        wait_for_waiting(lane, n + 1)
    gate.open()
    assert isinstance(callers[1].done().error, Internal)
    assert isinstance(callers[2].done().outcome, Posted)
    callers[0].done()
    assert [row.amount for row in store.model.log] == [1, 4]
