"""Discovery on the real registry: addresses, leases and ledgers as the database has them."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest

from service.concurrency.context import background
from service.errors import Unavailable
from service.events.discovery import MOST_ADDRESSES, Discovery
from service.events.registry import Registration
from service.ledger.kept import FRESH_S
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from service.repository.services import ServiceRepository


class World:
    """The registry with a discovery whose clock is turned by hand, beside the database's own."""

    def __init__(self, pool: Pool) -> None:
        self.store = ServiceRepository(pool, Queries(sql_folder() / "queries"))
        self.now = 0.0
        self.discovery = Discovery(self.store, clock=lambda: self.now)

    def register(
        self, instance_id: str, address: str, *, ledger_id: int = 1, service: str = "mail", lease_s: int = 3600
    ) -> None:
        """An instance."""
        self.store.register(background(), ledger_id, Registration(service, instance_id, address, lease_s, {}), most=5000)

    def chosen(self, ledger_id: int = 1, service: str = "mail", times: int = 60) -> Counter[str]:
        """What is chosen, and how often."""
        return Counter(self.discovery.choose(background(), ledger_id, service) for _ in range(times))


@pytest.fixture
def world(pool: Pool) -> World:
    """On a database without any instance."""
    return World(pool)


def test_an_address_counts_once_however_many_instances_have_it(world: World) -> None:
    """Workers of one server have rows of their own; the server gets no more calls for that."""
    for number in range(5):
        world.register(f"worker-{number}", "10.0.0.1:80")
    world.register("other", "10.0.0.2:80")
    assert world.chosen() == {"10.0.0.1:80": 30, "10.0.0.2:80": 30}


def test_an_address_stays_for_as_long_as_its_longest_lease(world: World) -> None:
    """By our own clock too, from when the registry was asked."""
    world.register("a", "10.0.0.1:80", lease_s=1)
    world.register("b", "10.0.0.1:80", lease_s=100)
    ((address, left_s),) = world.store.find_addresses(background(), 1, "mail", limit=10)
    assert (address, 90 < left_s <= 100) == ("10.0.0.1:80", True)


def test_an_address_whose_lease_has_ended_is_gone_within_a_second(world: World, database_url: str) -> None:
    """Wherever it was ended: what was read is used for no longer."""
    world.register("a", "10.0.0.1:80")
    world.register("b", "10.0.0.2:80")
    assert set(world.chosen()) == {"10.0.0.1:80", "10.0.0.2:80"}
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("UPDATE service_instances SET expires_at = clock_timestamp() WHERE id = 'a'")
        world.now += FRESH_S
        assert set(world.chosen()) == {"10.0.0.2:80"}
        conn.execute("UPDATE service_instances SET expires_at = clock_timestamp()")
        world.now += FRESH_S
        with pytest.raises(Unavailable):
            world.chosen()


def test_each_ledger_finds_its_own_and_all_find_the_hosts(world: World) -> None:
    """The same names lead elsewhere in another ledger."""
    world.register("a", "10.0.0.1:80", ledger_id=1)
    world.register("a", "10.0.0.2:80", ledger_id=2)
    world.register("a", "10.0.0.3:80", ledger_id=0, service="ledgerd")
    assert [set(world.chosen(ledger_id)) for ledger_id in (1, 2)] == [{"10.0.0.1:80"}, {"10.0.0.2:80"}]
    assert [set(world.chosen(ledger_id, "ledgerd")) for ledger_id in (1, 2)] == [{"10.0.0.3:80"}] * 2
    with pytest.raises(Unavailable):
        world.chosen(3)


def test_of_very_many_those_that_came_first_are_used(world: World, database_url: str) -> None:
    """What is read is bounded."""
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "INSERT INTO service_instances (ledger_id, service, id, address, lease_s, metadata, expires_at)"
            " SELECT 1, 'mail', 'i' || n, 'h' || n || ':1', 60, '{}', clock_timestamp() + interval '1 h'"
            " FROM generate_series(1, %s) n",
            (MOST_ADDRESSES + 50,),
        )
    assert set(world.chosen(times=MOST_ADDRESSES + 50)) == {f"h{n}:1" for n in range(1, MOST_ADDRESSES + 1)}
