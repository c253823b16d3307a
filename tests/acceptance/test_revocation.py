"""A revoked key is refused by every worker within a second, whatever becomes of the notifications meanwhile."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.client import HttpClient
from tests.proxy import Proxy
from tests.serving import Serve, descendants, wait_until

WORKERS = 4
CLIENTS = 24  # connections, so that each worker has some
SETTINGS = {"LEDGERD_WORKERS": str(WORKERS), "LEDGERD_LOG_LEVEL": "warning", "LEDGERD_DB_MAX_OPEN": "5"}


class Asking:
    """Clients that ask with one key, over connections of their own, and note when each request began and what it was told."""

    def __init__(self, port: int, key: str) -> None:
        self._stop = threading.Event()
        self.told: dict[int, list[tuple[float, int]]] = defaultdict(list)
        self._threads = [threading.Thread(target=self._ask, args=(n, port, key), daemon=True) for n in range(CLIENTS)]

    def _ask(self, number: int, port: int, key: str) -> None:
        client = HttpClient(port, key)
        while not self._stop.is_set():
            began = time.monotonic()
            self.told[number].append((began, client.call("GET", "/api/users").status))
            self._stop.wait(0.01)
        client.close()

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def wait(self, condition: Callable[[list[tuple[float, int]]], bool]) -> None:
        """Return when `condition` is true of what each client was told."""
        wait_until(lambda: len(self.told) == CLIENTS and all(condition(list(told)) for told in self.told.values()), 30)


@contextmanager
def serving(url: str, tmp_path: Path) -> Iterator[Serve]:
    """Four workers on `url`; nothing of them is left."""
    with Serve(tmp_path, DATABASE_URL=url, **SETTINGS) as server:
        yield server.wait_ready()
    assert descendants(server.process.pid) == []


def revoke_under_load(server: Serve, before: Callable[[], object] = lambda: None) -> None:
    """No request that begins a second after the answer to the DELETE is accepted, on any connection."""
    victim = server.key("write")
    with closing(HttpClient(server.port, server.key())) as admin, Asking(server.port, victim) as asking:
        asking.wait(lambda told: len(told) > 20 and told[-1][1] == 200)
        before()
        assert admin.call("DELETE", f"/api/keys/{victim.split('_')[1]}").status == 204
        revoked_at = time.monotonic()
        asking.wait(lambda told: told[-1][0] > revoked_at + 1.5)
    late = [(n, began - revoked_at) for n, told in asking.told.items() for began, status in told if status == 200]
    late = [(n, after) for n, after in late if after > 1.0]
    assert late == []
    assert all(told[-1][1] == 401 for told in asking.told.values())


@pytest.mark.slow
def test_every_worker_refuses_a_revoked_key_within_a_second(database_url: str, tmp_path: Path) -> None:
    """Four workers that all keep the key, and many connections to each."""
    with serving(database_url, tmp_path) as server:
        revoke_under_load(server)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["deaf", "frozen", "killed"])
def test_a_second_is_enough_without_notifications(database_url: str, tmp_path: Path, fault: str) -> None:
    """They are swallowed, the network of those who listen stands still, or their sessions are killed, just before."""
    with Proxy(database_url) as proxy, serving(proxy.url, tmp_path) as server:

        def kill() -> None:
            with psycopg.connect(database_url, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'ledgerd listener'"
                )

        def freeze() -> None:
            assert proxy.freeze_listeners() == WORKERS

        faults: dict[str, Callable[[], object]] = {
            "deaf": lambda: setattr(proxy, "deaf", True), "frozen": freeze, "killed": kill,
        }
        revoke_under_load(server, faults[fault])
