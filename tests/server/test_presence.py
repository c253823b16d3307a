"""A real server is in the registry while it serves, and nobody is sent to one that does not."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import psycopg
import pytest

from service.concurrency.context import background
from service.errors import Unavailable
from service.events.discovery import Discovery
from service.events.presence import LEASE_S
from service.repository.queries import Queries, sql_folder
from service.repository.services import ServiceRepository
from tests.client import ApiClient
from tests.integration.conftest import open_pool
from tests.server.web import Web
from tests.serving import wait_until


def instances(api: ApiClient) -> dict[str, str]:
    """What everybody can see: ids with addresses."""
    return {i["id"]: i["address"] for i in api.get("/api/services/ledgerd").json["data"]}


def test_workers_come_and_go_with_the_server(start: Callable[..., Web], api: ApiClient) -> None:
    """Each has a row with the server's address, and none is left after an orderly stop."""
    web = start().wait_ready()
    workers = web.wait_workers(2)
    wait_until(lambda: len(instances(api)) == 2, 10)
    there = instances(api)
    assert set(there.values()) == {f"127.0.0.1:{web.port}"}
    assert sorted(int(name.split("-")[-2]) for name in there) == workers
    (first, *_) = api.get("/api/services/ledgerd").json["data"]
    assert (first["lease_s"], "version" in first["metadata"]) == (LEASE_S, True)
    web.signal(signal.SIGTERM)
    assert web.wait_end() == 0
    assert instances(api) == {}


def test_a_worker_that_drains_is_gone_and_the_address_stays(start: Callable[..., Web], api: ApiClient) -> None:
    """It ends by itself and is replaced: its row is not that of the others."""
    web = start().wait_ready()
    workers = web.wait_workers(2)
    wait_until(lambda: len(instances(api)) == 2, 10)
    os.kill(workers[0], signal.SIGTERM)
    wait_until(lambda: not [name for name in instances(api) if f"-{workers[0]}-" in name], 20)
    assert set(instances(api).values()) == {f"127.0.0.1:{web.port}"}


def test_the_address_is_what_the_setting_says(start: Callable[..., Web], api: ApiClient) -> None:
    """Or none."""
    web = start(LEDGERD_ADVERTISE="https://ledger.example.com", LEDGERD_WORKERS="1").wait_ready()
    wait_until(lambda: set(instances(api).values()) == {"https://ledger.example.com"}, 10)
    web.signal().wait_end()
    web = start(LEDGERD_ADVERTISE="off", LEDGERD_WORKERS="1").wait_ready(2)
    web.signal().wait_end()
    assert instances(api) == {}


def test_the_address_of_a_socket_of_systemd_is_its_own(start: Callable[..., Web], api: ApiClient) -> None:
    """Not that of LEDGERD_BIND, which is not used then."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        start(listener=listener, LEDGERD_BIND="127.0.0.1:1", LEDGERD_WORKERS="1").wait_ready()
        wait_until(lambda: set(instances(api).values()) == {f"127.0.0.1:{listener.getsockname()[1]}"}, 10)


@pytest.mark.slow
def test_a_server_that_is_killed_is_gone_when_its_lease_ends(
    start: Callable[..., Web], api: ApiClient, database_url: str
) -> None:
    """Nobody deregisters it; discovery never gives it out any more from then on, and finds one that goes on."""
    web, other = start(LEDGERD_WORKERS="1").wait_ready(), start(LEDGERD_WORKERS="1").wait_ready(2)
    wait_until(lambda: len(instances(api)) == 2, 10)
    for pid in (web.process.pid, *web.workers):
        os.kill(pid, signal.SIGKILL)
    ends = "SELECT count(*) FROM service_instances WHERE address = %s AND expires_at > clock_timestamp()"
    dead, live = f"127.0.0.1:{web.port}", f"127.0.0.1:{other.port}"
    with psycopg.connect(database_url, autocommit=True) as conn, open_pool(database_url) as pool:
        found = Discovery(ServiceRepository(pool, Queries(sql_folder() / "queries")))
        assert {found.choose(background(), 1, "ledgerd") for _ in range(100)} == {dead, live}

        def has_ended() -> bool:
            chosen = {found.choose(background(), 1, "ledgerd") for _ in range(20)}
            there = conn.execute(ends, (dead,)).fetchone() == (1,)
            assert there or dead not in {found.choose(background(), 1, "ledgerd") for _ in range(20)}
            return not there and chosen == {live}

        wait_until(has_ended, LEASE_S + 10)
        assert set(instances(api).values()) == {live}
        other.signal().wait_end()
        wait_until(lambda: instances(api) == {}, 10)
        with pytest.raises(Unavailable):
            Discovery(ServiceRepository(pool, Queries(sql_folder() / "queries"))).choose(background(), 1, "ledgerd")
