"""Discovery gives out live addresses, evenly, and asks no more than it must."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.concurrency.context import Context, background
from service.errors import Unavailable
from service.events import discovery
from service.events.discovery import Discovery
from service.ledger.kept import FRESH_S
from tests.serving import wait_until


class Leases:
    """A registry whose time is `now`; it takes `takes_s` to answer, half of that before it looks."""

    def __init__(self, takes_s: float = 0.0) -> None:
        self.now = 1000.0
        self.takes_s = takes_s
        self.ends: dict[str, float] = {}
        self.asked: list[tuple[int, str]] = []

    def find_addresses(self, _: Context, ledger_id: int, service: str, *, limit: int) -> Sequence[tuple[str, float]]:
        """Those that are live when it looks."""
        self.asked.append((ledger_id, service))
        self.now += self.takes_s / 2
        found = [(address, end - self.now) for address, end in self.ends.items() if end > self.now][:limit]
        self.now += self.takes_s / 2
        return found

    def discovery(self) -> Discovery:
        """On this registry, with a clock that goes as fast but shows something else."""
        return Discovery(self, clock=lambda: self.now - 777)


def test_many_calls_are_spread_evenly() -> None:
    """Each address as often as any other, with one question to the registry."""
    leases = Leases()
    leases.ends = {f"h{n}:1": 2000.0 for n in range(5)}
    found = leases.discovery()
    assert Counter(found.choose(background(), 1, "mail") for _ in range(500)) == dict.fromkeys(leases.ends, 100)
    assert leases.asked == [(1, "mail")]


def test_the_first_of_many_callers_do_not_all_go_to_the_same() -> None:
    """The order is another one for each that reads."""
    leases = Leases()
    leases.ends = {f"h{n}:1": 2000.0 for n in range(4)}
    assert len({leases.discovery().choose(background(), 1, "mail") for _ in range(200)}) == 4


def test_without_an_instance_it_is_unavailable_and_the_first_one_is_seen_at_once() -> None:
    """Nothing is remembered of a service that has none."""
    leases = Leases()
    found = leases.discovery()
    with pytest.raises(Unavailable, match="No instance of the service 'mail'") as caught:
        found.choose(background(), 1, "mail")
    assert caught.value.retry_after_s == 1
    leases.ends["h:1"] = 2000.0
    assert found.choose(background(), 1, "mail") == "h:1"


def test_what_is_not_wanted_is_not_chosen() -> None:
    """One that was just tried, say; where nothing else is left, that is told."""
    leases = Leases()
    leases.ends = {"a:1": 2000.0, "b:1": 2000.0}
    found = leases.discovery()
    assert {found.choose(background(), 1, "mail", but_not={"a:1"}) for _ in range(10)} == {"b:1"}
    with pytest.raises(Unavailable):
        found.choose(background(), 1, "mail", but_not={"a:1", "b:1"})


def test_a_change_is_seen_within_a_second() -> None:
    """What was read is used for less than that."""
    leases = Leases()
    leases.ends = {"a:1": 2000.0}
    found = leases.discovery()
    assert found.choose(background(), 1, "mail") == "a:1"
    leases.ends = {"b:1": 2000.0}
    leases.now += FRESH_S - 0.01
    assert found.choose(background(), 1, "mail") == "a:1"
    leases.now += 0.02
    assert found.choose(background(), 1, "mail") == "b:1"


def test_ledgers_are_kept_apart_and_the_host_is_everybodys() -> None:
    """The registry is asked for the ledger that the service belongs to."""
    leases = Leases()
    leases.ends = {"a:1": 2000.0}
    found = leases.discovery()
    for ledger_id in (1, 2):
        for service in ("mail", "ledgerd", "ledgerd-grpc", "ledgerds"):
            found.choose(background(), ledger_id, service)
    assert leases.asked == [(1, "mail"), (0, "ledgerd"), (0, "ledgerd-grpc"), (1, "ledgerds"), (2, "mail"), (2, "ledgerds")]


@given(
    takes_s=st.floats(0, 0.5),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("pass"), st.floats(0, 1.5)),
            st.tuples(st.sampled_from(["a:1", "b:1", "c:1"]), st.floats(0.05, 3)),
        ),
        min_size=1, max_size=30,
    ),
)
def test_no_address_is_given_out_whose_lease_has_ended(takes_s: float, steps: list[tuple[str, float]]) -> None:
    """Whatever time passes between, and however long the registry takes; and one that is live and known is found."""
    leases = Leases(takes_s)
    found = leases.discovery()
    for what, seconds in steps:
        if what == "pass":
            leases.now += seconds
        else:
            leases.ends[what] = max(leases.ends.get(what, 0), leases.now + seconds)  # a lease may only be made longer
        before = leases.now
        try:
            address = found.choose(background(), 1, "mail")
        except Unavailable:
            assert not [end for end in leases.ends.values() if end > before + 2 * takes_s]
        else:
            assert leases.ends[address] > leases.now


def test_those_who_ask_at_the_same_time_ask_once() -> None:
    """One question serves all who wait for its answer."""
    together, callers = Barrier(2), 8

    class Slow(Leases):
        def find_addresses(self, *args: object, **kwargs: object) -> Sequence[tuple[str, float]]:
            together.wait(10)
            return super().find_addresses(*args, **kwargs)  # type: ignore[arg-type]

    leases, chosen = Slow(), list[str]()
    leases.ends = {"a:1": 2000.0}
    found = leases.discovery()
    threads = [Thread(target=lambda: chosen.append(found.choose(background(), 1, "mail"))) for _ in range(callers)]
    for thread in threads:
        thread.start()
    wait_until(lambda: together.n_waiting == 1, 10)
    together.wait(10)
    for thread in threads:
        thread.join(10)
    assert chosen == ["a:1"] * callers
    assert len(leases.asked) == 1


def test_it_keeps_a_bounded_number_of_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names beyond that are asked for again."""
    monkeypatch.setattr(discovery, "MOST_SERVICES", 10)
    leases = Leases()
    leases.ends = {"a:1": 2000.0}
    found = leases.discovery()
    for number in range(100):
        found.choose(background(), 1, f"service-{number}")
    assert len(found._kept) == 10
