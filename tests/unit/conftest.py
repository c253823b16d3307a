"""A posting lane on the model of the rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service.concurrency.context import background
from service.concurrency.spawn import Tasks
from service.ledger import posting
from service.ledger.posting import Posting
from tests.unit.lanes import Lanes, ModelStore


@pytest.fixture
def store() -> ModelStore:
    """A store without faults."""
    return ModelStore()


@pytest.fixture
def lanes(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lanes]:
    """Starts lanes whose pauses are short."""
    monkeypatch.setattr(posting, "BACKOFF_S", (0.001,) * 3)
    tasks, running = Tasks(background()), []

    def run(**options: Any) -> Posting:
        running.append(Posting(store, longest_s=5, **options))
        tasks.spawn("lane", running[-1].run_lane)
        return running[-1]

    yield run
    for lane in running:
        lane.close()
    assert tasks.stop(10) == []


@pytest.fixture
def lane(lanes: Lanes) -> Posting:
    """A running lane with room for 4 that wait."""
    return lanes(capacity=4)
