"""What a process of ledgerd tells of itself, and that it goes on whatever fails."""

from __future__ import annotations

import socket

import pytest

from service.concurrency.context import Context, background
from service.concurrency.spawn import Tasks
from service.errors import Unavailable
from service.events import presence
from service.events.presence import Presence, own_address, own_id
from service.events.registry import HOST_LEDGER, INSTANCE_ID, Registration
from tests.serving import wait_until


class Store:
    """What is registered; the next calls raise what is in `faults`."""

    def __init__(self) -> None:
        self.there: dict[str, Registration] = {}
        self.registered = 0
        self.faults: list[Exception] = []

    def register(self, ctx: Context, ledger_id: int, given: Registration, *, most: int) -> tuple[object, bool]:
        """Note it."""
        ctx.check()
        assert (ledger_id, most > 0) == (HOST_LEDGER, True)
        if self.faults:
            raise self.faults.pop()
        self.there[given.instance_id] = given
        self.registered += 1
        return object(), True

    def deregister(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> bool:
        """Forget it."""
        ctx.check()
        if self.faults:
            raise self.faults.pop()
        return self.there.pop(instance_id, None) is not None


def presence_of(store: Store) -> Presence:
    """On that store."""
    return Presence(store, service="ledgerd", address="h:1", metadata={"version": "1"})  # type: ignore[arg-type]


def test_it_renews_until_it_leaves_and_is_gone_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage is waited for; `leave` ends it, whatever the pause."""
    monkeypatch.setattr(presence, "RENEW_EVERY_S", 0.001)
    monkeypatch.setattr(presence, "TRY_AGAIN_S", 0.001)
    store, tasks = Store(), Tasks(background())
    store.faults = [Unavailable("The database cannot be reached.")] * 3
    mine = presence_of(store)
    tasks.spawn("presence", mine.run)
    wait_until(lambda: store.registered > 5, 10)
    (given,) = store.there.values()
    assert (given.service, given.address, given.lease_s, given.metadata) == ("ledgerd", "h:1", 15, {"version": "1"})
    monkeypatch.setattr(presence, "RENEW_EVERY_S", 3600.0)
    mine.leave()
    mine.leave()
    wait_until(lambda: tasks.names() == [], 10)
    assert store.there == {}
    assert tasks.stop(10) == []


def test_it_is_gone_when_its_task_is_stopped() -> None:
    """Where nobody has called `leave`."""
    store, tasks = Store(), Tasks(background())
    tasks.spawn("presence", presence_of(store).run)
    wait_until(lambda: store.there, 10)
    assert tasks.stop(10) == []
    assert store.there == {}


def test_it_ends_where_it_cannot_tell_that_it_goes() -> None:
    """Then the lease ends by itself."""
    store, tasks = Store(), Tasks(background())
    mine = presence_of(store)
    tasks.spawn("presence", mine.run)
    wait_until(lambda: store.there, 10)
    store.faults = [Unavailable("The database cannot be reached.")]
    mine.leave()
    wait_until(lambda: tasks.names() == [], 10)
    assert len(store.there) == 1


def test_ids_are_acceptable_and_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the host is called."""
    for name in ("host-1", "-höst_1 ", "..", "", "h" * 300):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        assert INSTANCE_ID.fullmatch(own_id())
        assert own_id() != own_id()


@pytest.mark.parametrize(
    ("advertise", "bound", "address"),
    [
        ("", ("127.0.0.1", 8080), "127.0.0.1:8080"),
        ("", ("::1", 8080, 0, 0), "[::1]:8080"),
        ("", ("0.0.0.0", 80), "host-1:80"),
        ("", ("::", 80, 0, 0), "host-1:80"),
        ("", "/run/ledgerd.sock", None),
        ("", b"\x00abstract", None),
        ("", ("127.0.0.1", 0), None),
        ("https://ledger.example.com", ("127.0.0.1", 8080), "https://ledger.example.com"),
        ("ledger.example.com:443", "/run/ledgerd.sock", "ledger.example.com:443"),
        ("off", ("127.0.0.1", 8080), None),
    ],
)
def test_the_address_is_the_settings_or_the_sockets(
    advertise: str, bound: object, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every address of the host its name; nothing for what nobody could reach."""
    monkeypatch.setattr(socket, "gethostname", lambda: "host-1")
    assert own_address(advertise, bound) == address


def test_a_host_whose_name_is_no_address_registers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would mislead."""
    monkeypatch.setattr(socket, "gethostname", lambda: "no such_host")
    assert own_address("", ("0.0.0.0", 80)) is None
