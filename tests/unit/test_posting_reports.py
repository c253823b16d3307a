"""What a posting lane tells of its batches."""

from __future__ import annotations

from service.concurrency.context import background
from service.concurrency.spawn import Tasks
from service.errors import Unavailable
from service.ledger.posting import BatchReport, Posting
from tests.serving import wait_until
from tests.unit.lanes import Caller, Gate, ModelStore, failing, move, wait_for_waiting


def test_each_batch_is_told_once_with_what_was_in_it() -> None:
    """How long each request waited for it, and how long it took; a batch that fails is told too."""
    store, told, gate = ModelStore(), list[BatchReport](), Gate()
    store.faults = [gate, failing(Unavailable("away"))]
    lane, tasks = Posting(store, capacity=4, longest_s=5, on_batch=told.append), Tasks(background())
    tasks.spawn("lane", lane.run_lane)
    first = Caller(lane, move(1), background())
    assert gate.reached.wait(20)
    others = [Caller(lane, move(2), background()) for _ in range(3)]
    wait_for_waiting(lane, 3)
    assert (lane.statistics().buffered, lane.statistics().capacity) == (3, 4)
    gate.open()
    for caller in (first, *others):
        caller.done()
    wait_until(lambda: len(told) == 2, 20)
    lane.close()
    assert tasks.stop(10) == []
    assert [[request.amount for request in batch.requests] for batch in told] == [[1], [2, 2, 2]]
    assert all(0 <= waited_s <= 60 for batch in told for waited_s in batch.waited_s)
    assert [len(batch.waited_s) for batch in told] == [1, 3]
    assert min(told[1].waited_s) > 0
    assert told[0].took_s > 0, "the gate held it"
