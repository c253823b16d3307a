"""The client against real servers: killed, standing still, or with answers lost on the way. No transfer is lost or doubled."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg
import pytest

from service.client import Client
from service.client.instances import FAILURES
from service.concurrency.breaker import State
from service.concurrency.context import background, with_timeout
from service.errors import (
    Conflict,
    InsufficientFunds,
    InvalidInput,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    Unauthenticated,
    Unavailable,
)
from tests.conftest import TestServer, fresh_database, make_key
from tests.http_client.scripted import Asked, Wire
from tests.invariants import check_invariants
from tests.serving import Serve, descendants, stopped, wait_until

_numbers = count(1)
SETTINGS = {"LEDGERD_WORKERS": "1", "LEDGERD_DB_MAX_OPEN": "6", "LEDGERD_DB_MIN_IDLE": "1", "LEDGERD_LOG_LEVEL": "warning"}


@dataclass
class World:
    """A database with a ledger and a key, and servers on it."""

    database_url: str
    folder: Path
    key: str

    @contextmanager
    def serving(self) -> Iterator[Serve]:
        """Another server, for the block."""
        with Serve(self.folder / f"server-{next(_numbers)}", DATABASE_URL=self.database_url, **SETTINGS) as server:
            yield server.wait_ready()

    def posted(self, word: str) -> list[str]:
        """The references that begin with `word` of all transfers, in order; one that was posted twice is there twice."""
        with psycopg.connect(self.database_url) as conn:
            rows = conn.execute(
                "SELECT reference FROM transfers WHERE starts_with(reference, %s) ORDER BY reference", (word,)
            ).fetchall()
        return [reference for (reference,) in rows]


@pytest.fixture(scope="module")
def world(test_server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """For all tests of this file."""
    for url in fresh_database(test_server, "template"):
        yield World(url, tmp_path_factory.mktemp("servers"), make_key(url))
        check_invariants(url)


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Serve]:
    """One that nothing happens to."""
    with world.serving() as server:
        yield server


def url_of(server: Serve) -> str:
    """Where it is."""
    return f"http://127.0.0.1:{server.port}"


def kill(server: Serve) -> None:
    """Every process of it, at once."""
    for pid in (server.process.pid, *descendants(server.process.pid)):
        os.kill(pid, signal.SIGKILL)


def accounts(client: Client) -> dict[str, int]:
    """Two that never lack money."""
    made = [client.post(background(), "/api/accounts", {"asset": "USD/2", "min_balance": None})["id"] for _ in range(2)]
    return {"from_account_id": made[0], "to_account_id": made[1]}


class Load:
    """Threads that post transfers until `stop`, each with a reference of its own and without a key; all must succeed."""

    def __init__(self, client: Client, word: str, threads: int = 4) -> None:
        self._client, self._word = client, word
        self._accounts = accounts(client)
        self._stop = threading.Event()
        self._numbers = count()
        self.told: list[str] = []
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.005):
                reference = f"{self._word}-{next(self._numbers):06}"
                made = self._client.transfer(background(), **self._accounts, amount=1, reference=reference)
                assert made["reference"] == reference
                self.told.append(reference)
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            self.errors.append(error)

    def wait_for(self, more: int) -> None:
        """Until so many more are posted."""
        before = len(self.told)
        wait_until(lambda: len(self.told) >= before + more or self.errors, 60)

    def end(self) -> list[str]:
        """Stop; the references that were told, in order."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert self.errors == []
        return sorted(self.told)


def test_a_ledger_is_used_through_it(world: World, server: Serve) -> None:
    """Users, accounts, transfers, pages, replays and errors as the server tells them."""
    ctx = background()
    with Client(url_of(server), world.key) as client:
        user = client.post(ctx, "/api/users", {"name": "Ada", "email": "ada@example.com"})
        assert client.get(ctx, f"/api/users/{user['id']}") == user
        with pytest.raises(Conflict) as taken:
            client.post(ctx, "/api/users", {"name": "Ada", "email": "ada@example.com"})
        assert [each.field for each in taken.value.fields] == ["email"]
        both = accounts(client)
        first = client.transfer(ctx, **both, amount=5, idempotency_key="order 1", metadata={"n": 1})
        again = client.call(
            ctx, "POST", "/api/transfers", {**both, "amount": 5, "metadata": {"n": 1}}, idempotency_key="order 1"
        )
        assert (again.status, again.headers["idempotency-replayed"], again.json) == (200, "true", first)
        for _ in range(4):
            client.transfer(ctx, **both, amount=1)
        found = client.pages(ctx, "/api/transfers", {"account_id": both["from_account_id"], "limit": 2})
        assert len([transfer["id"] for transfer in found]) == 5
        held = client.transfer(ctx, **both, amount=7, hold=True)
        assert client.post(ctx, f"/api/transfers/{held['id']}/capture", {"amount": 3})["amount"] == 3
        poor = client.post(ctx, "/api/accounts", {"asset": "USD/2"})["id"]
        with pytest.raises(InsufficientFunds):
            client.transfer(ctx, from_account_id=poor, to_account_id=both["to_account_id"], amount=1)
        with pytest.raises(NotFound):
            client.get(ctx, "/api/users/999999")
        with pytest.raises(InvalidInput) as wrong:
            client.transfer(ctx, **both, amount=0)
        assert [each.field for each in wrong.value.fields] == ["amount"]
        assert client.call(ctx, "DELETE", f"/api/users/{user['id']}").status == 204
    wrong_key = world.key[:-1] + ("1" if world.key.endswith("0") else "0")
    with Client(url_of(server), wrong_key) as stranger, pytest.raises(Unauthenticated):
        stranger.get(ctx, "/api/users")


def test_a_killed_server_costs_nothing_but_time(world: World, server: Serve) -> None:
    """Each transfer is posted once, and every call succeeds, though answers of the killed one are lost."""
    with world.serving() as victim, Client([url_of(server), url_of(victim)], world.key) as client:
        load = Load(client, "killed")
        load.wait_for(100)
        kill(victim)
        load.wait_for(200)
        told = load.end()
    assert world.posted("killed") == told


def test_a_server_that_stands_still_is_gone_round(world: World, server: Serve) -> None:
    """Calls take the time of an attempt until its breaker opens, then none; it is asked again when it goes on."""
    with world.serving() as still, Client([url_of(server), url_of(still)], world.key, attempt_timeout_s=1.0) as client:
        load = Load(client, "still")
        load.wait_for(50)
        (breaker,) = [
            each.breaker for each in client._instances._made.values() if each.connections.base == url_of(still)
        ]
        with stopped(still.process.pid):
            wait_until(lambda: breaker.state is State.OPEN, 30)
            load.wait_for(100)
        wait_until(lambda: breaker.state is State.CLOSED, 30)
        load.wait_for(50)
        told = load.end()
    assert world.posted("still") == told


def test_lost_answers_double_nothing(world: World, server: Serve) -> None:
    """Three of ten are lost or torn after the server has done its work: transfers are posted once all the same."""
    choice = random.Random(5)

    def loses(asked: Asked) -> bool:
        return asked.line.startswith("POST /api/transfers") and choice.random() < 0.3

    wire = Wire(server.port, loses)
    try:
        with Client(wire.url, world.key, attempts=1000, timeout_s=60) as client:
            load = Load(client, "lost", threads=3)
            wait_until(lambda: wire.lost >= 40 or load.errors, 60)
            told = load.end()
    finally:
        wire.close()
    assert wire.lost >= 40
    assert world.posted("lost") == told


def test_what_has_no_key_is_done_once_and_told_as_unknown(world: World, server: Serve) -> None:
    """The answer to a new user is lost: it is not made again, and is there."""
    wire = Wire(server.port, lambda asked: asked.line.startswith("POST"))
    try:
        with Client(wire.url, world.key) as client:
            with pytest.raises(OutcomeUnknown, match="read it back"):
                client.post(background(), "/api/users", {"name": "Bob", "email": "bob@example.com"})
            assert wire.lost == 1
            (bob,) = client.pages(background(), "/api/users", {"email": "bob@example.com"})
            assert bob["name"] == "Bob"
    finally:
        wire.close()


def test_a_late_server_costs_the_deadline_and_no_more(world: World, server: Serve) -> None:
    """The transfer's account is locked: the call ends in time and is told that nothing is known; later its key tells."""
    with Client(url_of(server), world.key) as client, psycopg.connect(world.database_url) as blocker:
        both = accounts(client)
        blocker.execute("SELECT FROM accounts WHERE id = %s FOR UPDATE", (both["from_account_id"],))
        with with_timeout(background(), 2.0) as ctx, pytest.raises(OutcomeUnknown) as unknown:
            client.transfer(ctx, **both, amount=1, reference="late", idempotency_key="late")
        assert "'late'" in unknown.value.message
        blocker.rollback()
        made = client.transfer(background(), **both, amount=1, reference="late", idempotency_key="late")
        assert made["reference"] == "late"
    assert world.posted("late") == ["late"]


def test_a_refusal_that_comes_before_the_whole_body_is_told(world: World, server: Serve) -> None:
    """The server does not read on, and its answer is found all the same."""
    with Client(url_of(server), world.key) as client, pytest.raises(PayloadTooLarge):
        client.post(background(), "/api/users", {"name": "x" * (20 << 20), "email": "x@example.com"})


def test_instances_are_found_in_the_registry(world: World, server: Serve) -> None:
    """ledgerd's own: one that is new is asked too, one that is killed or has gone is not."""

    def ports(client: Client) -> set[int]:
        client.get(background(), "/api/users", {"limit": 1})
        return {int(base.rpartition(":")[2]) for base in client._instances._made}

    with Client(url_of(server), world.key) as seed, Client("service://ledgerd", world.key, registry=seed) as client:
        wait_until(lambda: server.port in ports(client), 10)
        load = Load(client, "found")
        with world.serving() as second:
            wait_until(lambda: second.port in ports(client), 20)
            load.wait_for(50)
            second.stop()
            wait_until(lambda: second.port not in ports(client), 20)
        with world.serving() as third:
            wait_until(lambda: third.port in ports(client), 20)
            kill(third)
            load.wait_for(2 * FAILURES)
        told = load.end()
    assert world.posted("found") == told


@pytest.mark.parametrize("name", ["nobody", "ledgerd-nobody"])
def test_a_service_that_nobody_offers_is_unavailable(world: World, server: Serve, name: str) -> None:
    """Told as such, after the attempts."""
    with (
        Client(url_of(server), world.key) as seed,
        Client(f"service://{name}", world.key, registry=seed, attempts=2) as client,
        pytest.raises(Unavailable, match=f"No instance of the service '{name}'"),
    ):
        client.get(background(), "/a")


def test_a_registry_needs_a_client() -> None:
    """There must be somebody to ask."""
    with pytest.raises(ValueError, match="needs a client for the registry"):
        Client("service://mail", None)


