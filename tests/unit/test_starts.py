"""Where one may begin is looked for once for all who ask at the same time, and remembered for a while."""

from __future__ import annotations

import threading

import pytest

from service.concurrency.context import Context, background
from service.errors import InvalidInput, Unavailable
from service.events import starts as starts_module
from service.events.log import check_start
from service.events.starts import KEPT_S, Starts
from tests.core.calls import Call
from tests.event_log import MemoryLog
from tests.serving import wait_until

CTX = background()


class CountingLog(MemoryLog):
    """Counts what is looked for, and takes its time where that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.looked: list[tuple[int, int]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def has(self, ctx: Context, ledger_id: int, event_id: int) -> bool:
        self.looked.append((ledger_id, event_id))
        assert self.go_on.wait(20)
        return super().has(ctx, ledger_id, event_id)


def test_it_is_looked_for_once() -> None:
    """By the first of those who ask meanwhile, and for those who ask later."""
    log = CountingLog()
    event = log.add()
    starts = Starts(log)
    log.go_on.clear()
    calls = [Call(starts.has, CTX, 1, event.id) for _ in range(8)]
    wait_until(lambda: log.looked, 10)
    log.go_on.set()
    assert all(call.result() for call in calls)
    assert starts.has(CTX, 1, event.id)
    assert log.looked == [(1, event.id)]


def test_what_is_not_there_is_not_remembered() -> None:
    """It may be there a moment later; nor is another ledger's, or an error."""
    log = CountingLog()
    starts = Starts(log)
    assert not starts.has(CTX, 1, 1)
    log.add()
    assert starts.has(CTX, 1, 1)
    assert not starts.has(CTX, 2, 1)
    with pytest.raises(InvalidInput):
        check_start(CTX, starts, 2, 1)
    check_start(CTX, starts, 1, 1)
    log.add()
    log.broken = True
    with pytest.raises(Unavailable):
        starts.has(CTX, 1, 2)
    log.broken = False
    assert starts.has(CTX, 1, 2)


def test_it_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database may be set back; and there is a bound on how many are kept."""
    now = [100.0]
    log = CountingLog()
    starts = Starts(log, clock=lambda: now[0])
    ids = [log.add().id for _ in range(3)]
    assert starts.has(CTX, 1, ids[0])
    log.events.clear()
    now[0] += KEPT_S - 1
    assert starts.has(CTX, 1, ids[0])
    now[0] += 1
    assert not starts.has(CTX, 1, ids[0])
    monkeypatch.setattr(starts_module, "MOST_KEPT", 2)
    for event_id in (log.add().id for _ in range(5)):
        assert starts.has(CTX, 1, event_id)
    assert len(starts._found_at) == 2
