"""What one worker changes of a user is seen by all, within a second whatever becomes of the notifications."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import pytest

from tests.client import HttpClient
from tests.proxy import Proxy
from tests.serving import Serve, descendants, wait_until

WORKERS = 2
CLIENTS = 12  # connections, so that each worker has some
CHANGES = 40
BOUND_S = 1.0
SETTINGS = {"LEDGERD_WORKERS": str(WORKERS), "LEDGERD_LOG_LEVEL": "warning", "LEDGERD_DB_MAX_OPEN": "5"}
ADA = {"name": "Ada", "email": "ada@example.com"}


@contextmanager
def asking(url: str, tmp_path: Path) -> Iterator[list[HttpClient]]:
    """Two workers on `url` that both keep user 1, and connections to them; nothing of them is left."""
    with Serve(tmp_path, DATABASE_URL=url, **SETTINGS) as server:
        key = server.wait_ready().key()
        clients = [HttpClient(server.port, key) for _ in range(CLIENTS)]
        assert clients[0].call("POST", "/api/users", ADA).status == 201
        wait_until(lambda: [client.call("GET", "/api/users/1").status for client in clients] == [200] * CLIENTS, 10)
        yield clients
        for client in clients:
            client.close()
    assert descendants(server.process.pid) == []


def stale_s(clients: list[HttpClient], is_new: Callable[[HttpClient], bool]) -> float:
    """Seconds from now to the beginning of the last read, on any connection, that was not answered with what is new."""
    changed_at = time.monotonic()
    last, pending = changed_at, set(clients)
    while pending:
        assert time.monotonic() - changed_at < 30, "what is new is never seen"
        for client in clients:
            began = time.monotonic()
            if is_new(client):
                pending.discard(client)
            else:
                last = began
                pending.add(client)
    return last - changed_at


def change(client: HttpClient, name: str) -> Callable[[HttpClient], bool]:
    """Give user 1 that name; what tells whether a client sees it."""
    assert client.call("PUT", "/api/users/1", ADA | {"name": name}).status == 200
    return lambda other: other.call("GET", "/api/users/1").json["name"] == name


@pytest.mark.slow
def test_a_change_is_seen_by_every_worker(database_url: str, tmp_path: Path) -> None:
    """Within the bound, and usually within milliseconds (which is printed); a removed user is nowhere any more."""
    with asking(database_url, tmp_path) as clients:
        took = sorted(stale_s(clients, change(clients[n % CLIENTS], f"Ada {n}")) for n in range(CHANGES))
        cuts = quantiles(took, n=100, method="inclusive")
        print(f"seen by all: p50 {1000 * cuts[49]:.1f} ms, p99 {1000 * cuts[98]:.1f} ms, worst {1000 * took[-1]:.1f} ms")
        assert took[-1] < BOUND_S
        assert clients[0].call("DELETE", "/api/users/1").status == 204
        assert stale_s(clients, lambda client: client.call("GET", "/api/users/1").status == 404) < BOUND_S


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["deaf", "frozen"])
def test_a_second_is_enough_without_notifications(database_url: str, tmp_path: Path, fault: str) -> None:
    """They are swallowed, or the network of those who listen stands still, just before."""
    with Proxy(database_url) as proxy, asking(proxy.url, tmp_path) as clients:
        if fault == "deaf":
            proxy.deaf = True
        else:
            assert proxy.freeze_listeners() == WORKERS
        took_s = stale_s(clients, change(clients[0], "Ada L."))
        print(f"{fault}: seen by all after {1000 * took_s:.0f} ms")
        assert took_s < BOUND_S
        assert clients[1].call("DELETE", "/api/users/1").status == 204
        assert stale_s(clients, lambda client: client.call("GET", "/api/users/1").status == 404) < BOUND_S
