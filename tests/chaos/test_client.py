"""The Python client while its servers are killed in turn and one answer in ten is lost: every call succeeds, once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from service.client import Client
from service.concurrency.context import background
from tests.chaos.conftest import FULL
from tests.conftest import TestServer, fresh_database, make_key
from tests.http_client.scripted import Asked, Wire
from tests.http_client.test_servers import SETTINGS, kill
from tests.invariants import check_invariants
from tests.serving import Serve, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

KILLS = 30 if FULL else 3
BETWEEN = 400  # transfers, from one kill to the next
LOST = 0.1
THREADS = 6
PATIENCE_S = 120


class Callers:
    """Threads that post transfers, each with a reference of its own and no key of their own; none may fail."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ids = [
            client.post(background(), "/api/accounts", {"asset": "USD/2", "min_balance": None})["id"] for _ in range(2)
        ]
        self._stop, self._numbers = threading.Event(), count()
        self.told: list[str] = []
        self.errors: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        source, target = self._ids
        try:
            while not self._stop.is_set():
                reference = f"order {next(self._numbers)}"
                self._client.transfer(
                    background(), from_account_id=source, to_account_id=target, amount=1, reference=reference
                )
                self.told.append(reference)
        except BaseException as error:  # noqa: BLE001  # a thread has nobody to tell: the test looks at it
            self.errors.append(error)

    def wait_for(self, more: int) -> None:
        """Until so many more are posted, or one has failed."""
        goal = len(self.told) + more
        wait_until(lambda: len(self.told) >= goal or self.errors, PATIENCE_S)

    def end(self) -> None:
        """Stop them."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)


@pytest.fixture
def database(test_server: TestServer) -> Iterator[str]:
    """A database that outlives its servers."""
    yield from fresh_database(test_server, "template")


def test_killed_servers_and_lost_answers_double_nothing(database: str, tmp_path: Path) -> None:
    """What callers were told is what the log has, to the row; and the books balance."""
    choice = random.Random(7)

    def loses(asked: Asked) -> bool:
        return asked.line.startswith("POST /api/transfers") and choice.random() < LOST

    servers = [Serve(tmp_path / f"server-{n}", DATABASE_URL=database, **SETTINGS).wait_ready() for n in range(2)]
    wires = [Wire(server.port, loses) for server in servers]
    try:
        with Client([wire.url for wire in wires], make_key(database), timeout_s=60, attempts=100) as client:
            callers = Callers(client)
            try:
                for number in range(KILLS):
                    callers.wait_for(BETWEEN)
                    old = servers[number % 2]
                    kill(old)
                    old.process.wait(PATIENCE_S)
                    callers.wait_for(BETWEEN // 4)  # with the other alone
                    again = Serve(tmp_path / f"server-{number % 2}", old.port, DATABASE_URL=database, **SETTINGS)
                    servers[number % 2] = again.wait_ready()
            finally:
                callers.end()
    finally:
        for wire in wires:
            wire.close()
        for server in servers:
            server.stop()
    assert callers.errors == []
    lost = sum(wire.lost for wire in wires)
    assert lost > LOST * KILLS * BETWEEN / 2
    with psycopg.connect(database) as conn:
        posted = [reference for (reference,) in conn.execute("SELECT reference FROM transfers").fetchall()]
    print(f"\n{KILLS} servers killed, {lost} answers lost; {len(callers.told)} transfers told, {len(posted)} posted")
    assert sorted(posted) == sorted(callers.told)
    assert check_invariants(database) == len(posted)
