"""A posting lane on the model of the rules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.concurrency.context import background
from service.concurrency.spawn import Tasks
from service.ledger import posting
from service.ledger.posting import Posting
from tests.unit.lanes import ModelStore


@pytest.fixture
def store() -> ModelStore:
    """A store without faults."""
    return ModelStore()


@pytest.fixture
def lane(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Posting]:
    """A running lane with room for 4 that wait, whose pauses are short."""
    monkeypatch.setattr(posting, "BACKOFF_S", (0.001,) * 3)
    lane = Posting(store, capacity=4, longest_s=5)
    tasks = Tasks(background())
    tasks.spawn("lane", lane.run_lane)
    yield lane
    lane.close()
    assert tasks.stop(10) == []
