"""How many attempts a target gets: many while it works, one while it does not, none while its breaker is open."""

from __future__ import annotations

import pytest

from service.concurrency.breaker import BreakerOpen, State
from service.concurrency.primitives import Parking
from service.events.delivery import DeliveryFailed
from service.events.gates import FAILURES, SUSPECT, Gate, Gates
from service.events.held import Pace


class TurnedClock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        """The time."""
        return self.time

    def park(self, parking: Parking, until: float | None) -> bool:
        """Nobody sleeps here."""
        raise AssertionError

    def call_at(self, when: float, task: object) -> object:
        """Nor is anything due."""
        raise AssertionError


@pytest.fixture
def clock() -> TurnedClock:
    """At 0."""
    return TurnedClock()


@pytest.fixture
def gates(clock: TurnedClock) -> Gates:
    """For eight workers."""
    return Gates(workers=8, most_each=3, open_s=30.0, clock=clock)  # type: ignore[arg-type]  # all that a breaker asks


def succeed(gate: Gate) -> None:
    """An attempt that arrives."""
    assert gate.call(lambda: 200) == 200


def fail(gate: Gate, status: int | None = None) -> None:
    """One that does not."""

    def refuse() -> int:
        raise DeliveryFailed("it failed", status=status)

    with pytest.raises(DeliveryFailed):
        gate.call(refuse)


def test_one_that_has_not_answered_yet_gets_one_attempt(gates: Gates) -> None:
    """And as many as a target may have once it has."""
    gate = gates.of((1, "a:443"))
    assert gates.has_room(gate)
    gates.enter(gate)
    assert not gates.has_room(gate)
    succeed(gate)
    for _ in range(2):
        assert gates.has_room(gate)
        gates.enter(gate)
    assert not gates.has_room(gate)
    gates.leave(gate, False)
    assert gates.has_room(gate)


def test_suspects_get_half_of_the_workers_together(gates: Gates) -> None:
    """Those that have failed, however many there are; what works has the other half."""
    works = gates.of((1, "works:443"))
    succeed(works)
    for number in range(4):
        suspect = gates.of((1, f"{number}:443"))
        fail(suspect)
        assert gates.has_room(suspect)
        assert gates.enter(suspect)
    another = gates.of((1, "another:443"))
    fail(another)
    assert not gates.has_room(another)
    assert gates.has_room(works)
    gates.leave(gates.of((1, "0:443")), True)
    assert gates.has_room(another)


def test_those_of_which_nothing_is_known_come_before_those_that_failed(gates: Gates) -> None:
    """After a restart what works is found out, though many that hang are tried again as well."""
    for number in range(4):
        failing = gates.of((1, f"{number}:443"))
        failing.expect_failure()
        gates.enter(failing)
    other = gates.of((1, "failing too:443"))
    other.expect_failure()
    assert not gates.has_room(other)
    for number in range(2):
        unknown = gates.of((1, f"unknown {number}:443"))
        assert gates.has_room(unknown)
        gates.enter(unknown)
    assert not gates.has_room(gates.of((1, "one more:443")))


def test_what_is_known_to_work_is_not_expected_to_fail(gates: Gates) -> None:
    """One poisonous event says nothing of a target that takes others."""
    gate = gates.of((1, "a:443"))
    succeed(gate)
    gate.expect_failure()
    assert not gate.is_suspect


def test_failures_in_a_row_make_a_suspect_and_open_the_breaker(gates: Gates, clock: TurnedClock) -> None:
    """A success in between begins the count anew; a probe that succeeds closes it, one that fails opens it again."""
    gate = gates.of((1, "a:443"))
    succeed(gate)
    for _ in range(SUSPECT - 1):
        fail(gate, 500)
    assert not gate.is_suspect
    succeed(gate)
    for _ in range(FAILURES - 1):
        fail(gate)
    assert (gate.is_suspect, gate.breaker.state) == (True, State.CLOSED)
    fail(gate)
    assert gate.breaker.state is State.OPEN
    assert not gates.has_room(gate)
    with pytest.raises(BreakerOpen):
        succeed(gate)
    clock.time = 31.0
    assert gates.has_room(gate)
    fail(gate)
    assert gate.breaker.state is State.OPEN
    clock.time = 62.0
    succeed(gate)
    assert (gate.breaker.state, gate.is_suspect) == (State.CLOSED, False)
    assert gates.states() == {"closed": 1, "open": 0, "half-open": 0}


@pytest.mark.parametrize(
    ("status", "opens"), [(400, False), (404, False), (410, False), (408, True), (429, True), (302, True)]
)
def test_a_target_that_refuses_an_event_works(gates: Gates, status: int, opens: bool) -> None:
    """Such an event is the receiver's business; too many, too slow and elsewhere are not."""
    gate = gates.of((1, "a:443"))
    for _ in range(FAILURES):
        fail(gate, status)
    assert (gate.breaker.state is State.OPEN) is opens


def test_a_target_is_one_ledgers(gates: Gates) -> None:
    """What one ledger does to a host is not felt by another."""
    for _ in range(FAILURES):
        fail(gates.of((1, "a:443")))
    assert gates.of((1, "a:443")).breaker.state is State.OPEN
    assert gates.of((2, "a:443")).breaker.state is State.CLOSED


def test_pauses_double_up_to_a_cap_and_end() -> None:
    """Each is a random part of its ceiling, so that what failed together does not come together."""
    pace = Pace(base_s=5.0, cap_s=60.0, attempts=8)
    for attempts, ceiling in ((1, 5.0), (2, 10.0), (3, 20.0), (4, 40.0), (5, 60.0), (7, 60.0)):
        waits = [pace.wait_s(attempts) for _ in range(300)]
        assert all(wait is not None and 0 <= wait <= ceiling for wait in waits)
        assert max(w for w in waits if w is not None) > 0.9 * ceiling
        assert min(w for w in waits if w is not None) < 0.1 * ceiling
    assert pace.wait_s(8) is None


def test_a_receiver_may_ask_for_a_longer_pause() -> None:
    """Up to the cap, and not for a shorter one."""
    pace = Pace(base_s=5.0, cap_s=60.0, attempts=8)
    assert pace.wait_s(1, 30.0) == 30.0
    assert pace.wait_s(1, 3600.0) == 60.0
    assert pace.wait_s(8, 30.0) is None
