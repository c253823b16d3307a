"""What the task that gives back expired holds does with what it finds, and with what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.concurrency.context import Context, background
from service.concurrency.spawn import Tasks
from service.errors import Internal, Unavailable
from service.ledger import expiry
from service.ledger.expiry import Expiry
from service.ledger.transfers import Outcome, PostRequest, Refused
from tests.serving import wait_until


class Holds:
    """A store of expired holds, and what posts; `broken` is the hold that cannot be posted."""

    def __init__(self, *numbers: int, broken: int = 0) -> None:
        self.numbers = list(numbers)
        self.broken = broken
        self.sent: list[list[int]] = []
        self.faults: list[Exception] = []

    def find_expired(self, _: Context, limit: int) -> list[PostRequest]:
        """Those that are left."""
        if self.faults:
            raise self.faults.pop(0)
        return [
            PostRequest(ledger_id=1, from_account_id=1, to_account_id=2, amount=1, kind="expiry", resolves_id=number)
            for number in self.numbers[:limit]
        ]

    def post_group(self, _: Context, requests: Sequence[PostRequest]) -> list[Outcome]:
        """Give them back; another worker is always first."""
        numbers = [request.resolves_id or 0 for request in requests]
        self.sent.append(numbers)
        if self.broken in numbers:
            raise Internal("The transfer could not be posted.")
        self.numbers = [number for number in self.numbers if number not in numbers]
        return [Refused("hold_resolved", "hold_id") for _ in requests]


def test_one_that_cannot_be_given_back_keeps_none_of_the_others() -> None:
    """After a fault of all together each is posted by itself."""
    holds, told = Holds(1, 2, 3, broken=2), list[int]()
    assert Expiry(holds, holds.post_group, told.append).give_back(background()) == 3
    assert holds.sent == [[1, 2, 3], [1], [2], [3]]
    assert holds.numbers == [2]
    assert told == [0]


def test_it_goes_on_whatever_fails_and_ends_when_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is waited for, what is found is given back in bounded rounds, and the task ends without an error."""
    monkeypatch.setattr(expiry, "EVERY_S", 0.001)
    holds, tasks = Holds(*range(1, 2 * expiry.MOST_AT_ONCE + 2)), Tasks(background())
    holds.faults.append(Unavailable("The database cannot be reached."))
    tasks.spawn("expiry", Expiry(holds, holds.post_group).run)
    wait_until(lambda: not holds.numbers, 20)
    assert [status.failures for status in tasks.statuses()] == [0]
    assert tasks.stop(10) == []
    assert [len(sent) for sent in holds.sent] == [expiry.MOST_AT_ONCE, expiry.MOST_AT_ONCE, 1]
