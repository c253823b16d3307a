"""Which server is asked next, and what the registry's word is worth while it cannot be asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.client import Client, instances
from service.client.exchange import Broken
from service.client.instances import ASK_TIMEOUT_S, FAILURES, KNOWN_FOR_S, TRY_AGAIN_S, Fixed, Instances, Registered
from service.client.request import Reply, Request
from service.concurrency.breaker import State
from service.concurrency.context import Context, background
from service.errors import DeadlineExceeded, Unavailable
from tests.core.clock import ManualClock
from tests.http_client.scripted import answer, lose, scripted
from tests.serving import wait_until


class Registry:
    """Tells what is in `ends`, by `clock`; the next questions raise what is in `faults`."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ends: dict[str, float] = {}
        self.faults: list[Exception] = []
        self.asked: list[float | None] = []
        self.found = Registered(self.ask, "mail")
        self.ctx = background(self.clock)

    def ask(self, ctx: Context) -> Sequence[tuple[str, float]]:
        """As `Client.addresses`."""
        self.asked.append(ctx.remaining())
        if self.faults:
            raise self.faults.pop()
        now = self.clock.now()
        return [(address, end - now) for address, end in self.ends.items() if end > now]

    def lease(self, address: str, seconds: float) -> None:
        """Register it."""
        self.ends[address] = self.clock.now() + seconds

    def find(self) -> Sequence[str]:
        """What a client would be told."""
        return self.found.find(self.ctx)


def test_the_registry_is_asked_now_and_then() -> None:
    """What it told is used for that long."""
    registry = Registry()
    registry.lease("h:1", 100)
    registry.lease("https://mail.example.com/in/", 100)
    assert list(registry.find()) == ["http://h:1", "https://mail.example.com/in"]
    registry.clock.advance(KNOWN_FOR_S - 0.01)
    registry.find()
    assert len(registry.asked) == 1
    registry.lease("h:2", 100)
    registry.clock.advance(0.02)
    assert "http://h:2" in registry.find()
    assert len(registry.asked) == 2


def test_an_instance_is_used_until_its_lease_ends_while_nobody_can_be_asked() -> None:
    """With little time for each question that is not needed, and not one for each call; then it is unavailable."""
    registry = Registry()
    registry.lease("h:1", 10)
    registry.find()
    registry.faults = [Unavailable("The registry is gone.")] * 1000
    for _ in range(50):
        registry.clock.advance(0.1)
        assert list(registry.find()) == ["http://h:1"]
    assert len(registry.asked) <= 2 + 5 / TRY_AGAIN_S
    assert all(left is not None and left <= ASK_TIMEOUT_S for left in registry.asked[1:])
    registry.clock.advance(5.1)
    with pytest.raises(Unavailable, match="The registry is gone"):
        registry.find()
    assert registry.asked[-1] is None
    registry.faults.clear()
    registry.lease("h:2", 10)
    assert list(registry.find()) == ["http://h:2"]


@given(steps=st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["h:1", "h:2", None]), st.booleans()), max_size=30))
def test_no_instance_is_used_whose_lease_has_ended(steps: list[tuple[float, str | None, bool]]) -> None:
    """Whatever happens to the registry; and where it answers, what it knows is found."""
    registry = Registry()
    for seconds, address, fails in steps:
        registry.clock.advance(seconds)
        if address is not None:
            registry.lease(address, 2.5)
        registry.faults = [Unavailable("gone")] if fails else []
        live = {f"http://{a}" for a, end in registry.ends.items() if end > registry.clock.now()}
        try:
            assert set(registry.find()) <= live
        except Unavailable:
            assert fails or not live


def test_those_who_can_wait_for_nothing_else_wait_for_one_question() -> None:
    """And those who have something to go on with do not wait at all."""
    registry, gate, inside = Registry(), threading.Event(), threading.Semaphore(0)
    registry.lease("h:1", 100)
    plain = registry.ask

    def slowly(ctx: Context) -> Sequence[tuple[str, float]]:
        inside.release()
        assert gate.wait(10)
        return plain(ctx)

    registry.found = Registered(slowly, "mail")
    told: list[Sequence[str]] = []
    threads = [threading.Thread(target=lambda: told.append(registry.find())) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=10)
    gate.set()
    for thread in threads:
        thread.join(10)
    assert (told, len(registry.asked)) == ([["http://h:1"]] * 5, 1)

    gate.clear()
    registry.clock.advance(KNOWN_FOR_S)
    asking = threading.Thread(target=registry.find)
    asking.start()
    assert inside.acquire(timeout=10)
    assert list(registry.find()) == ["http://h:1"]
    gate.set()
    asking.join(10)


def test_servers_are_asked_in_turn_and_the_untried_first() -> None:
    """Evenly over calls, and within a call no one twice while there is another."""
    every = Instances(Fixed(["http://a", "http://b", "http://c", "http://a/"]), connections=1)
    first = [every.choose(background(), []).connections.base for _ in range(6)]
    assert first == ["http://a", "http://b", "http://c"] * 2
    for _ in range(5):
        tried = [every.choose(background(), [])]
        tried.append(every.choose(background(), tried))
        tried.append(every.choose(background(), tried))
        assert len({each.connections.base for each in tried}) == 3
        assert not every.has_other(tried)
    every.close()


def broken_one(every: Instances) -> Callable[[], State]:
    """Let the breaker of the first server open; what tells its state."""

    def fail(*_: object) -> Reply:
        raise Broken("broken", sent=True)

    instance = every.choose(background(), [])
    instance.connections.exchange = fail  # type: ignore[method-assign]
    for _ in range(FAILURES):
        with pytest.raises(Broken):
            instance.exchange(background(), Request("GET", "/"), "1")
    assert instance.breaker.state is State.OPEN
    return lambda: instance.breaker.state


def test_only_what_may_be_repeated_finds_out_whether_a_server_works_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that cannot be sent elsewhere when it is lost goes to one that is known to work."""
    monkeypatch.setattr(instances, "OPEN_S", 0.05)
    every = Instances(Fixed(["http://a", "http://b"]), connections=1)
    state = broken_one(every)
    assert {every.choose(background(), []).connections.base for _ in range(10)} == {"http://b"}
    wait_until(lambda: state() is State.HALF_OPEN, 10, every_s=0.01)
    chosen = {every.choose(background(), [], may_probe=False).connections.base for _ in range(10)}
    assert chosen == {"http://b"}
    assert {every.choose(background(), []).connections.base for _ in range(10)} == {"http://a", "http://b"}
    every.close()


def test_a_server_that_is_told_no_more_is_forgotten_with_its_connections() -> None:
    """And found anew when it comes again."""
    bases = ["http://a", "http://b"]

    class Source:
        def find(self, _: Context) -> Sequence[str]:
            return bases

    every = Instances(Source(), connections=1)
    before = {every.choose(background(), []) for _ in range(2)}
    bases.remove("http://a")
    assert {every.choose(background(), []) for _ in range(4)} < before
    bases.append("http://a")
    assert len({every.choose(background(), []) for _ in range(4)} - before) == 1
    every.close()


def test_successes_between_failures_keep_a_server() -> None:
    """Only failures in a row are those of a server that does not work."""
    script = ([lose] * (FAILURES - 1) + [answer(200, {})]) * 4
    with scripted(*script) as server, Client(server.url, None, attempts=FAILURES) as client:
        for _ in range(4):
            client.get(background(), "/a")
        assert len(server.asked) == 4 * FAILURES


def test_a_question_that_takes_too_long_leaves_what_is_known() -> None:
    """Its time is its own, not the call's."""
    registry = Registry()
    registry.lease("h:1", 100)
    registry.find()
    registry.clock.advance(KNOWN_FOR_S)
    registry.faults = [DeadlineExceeded("The request's time is up.")]
    assert list(registry.find()) == ["http://h:1"]
