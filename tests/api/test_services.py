"""The service registry over HTTP: instances come, renew themselves, and are gone when their lease is over."""

from __future__ import annotations

import re
from threading import Thread
from typing import Any

import psycopg
import pytest

from service.api.answers import InstanceAnswer, InstancePage, ServicePage
from service.app import Application
from service.concurrency.context import background
from service.errors import LimitExceeded
from service.events.registry import MOST_INSTANCES, Registration, Registry, is_of_host
from service.repository.pool import Pool
from service.repository.queries import Queries, sql_folder
from service.repository.services import ServiceRepository
from tests.client import ApiClient, Reply
from tests.conftest import make_key
from tests.contract.document import the_document
from tests.integration.conftest import open_pool
from tests.serving import wait_until

GOOD = {"address": "10.0.0.5:8080", "lease_s": 30}


@pytest.fixture
def other(application: Application, database_url: str) -> ApiClient:
    """A client of another ledger."""
    return ApiClient(application, make_key(database_url, "other"))


@pytest.fixture
def pool(database_url: str) -> Any:
    """A pool of the test's own."""
    with open_pool(database_url, max_open=8) as pool:
        yield pool


def put(client: ApiClient, instance: str = "mail-1", service: str = "mail", **changes: Any) -> Reply:
    """Register an instance."""
    return client.call("PUT", f"/api/services/{service}/instances/{instance}", {**GOOD, **changes})


def ids(client: ApiClient, service: str = "mail") -> list[str]:
    """The instances that a client sees."""
    return [instance["id"] for instance in client.get(f"/api/services/{service}").json["data"]]


def own(client: ApiClient) -> dict[str, int]:
    """The services that a client sees, but for ledgerd's own."""
    services = client.get("/api/services").json["data"]
    return {s["service"]: s["instances"] for s in services if s["service"] != "ledgerd"}


def end_leases(database_url: str, instance: str = "%") -> None:
    """Let leases have ended just now, by the clock that they go by."""
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE service_instances SET expires_at = clock_timestamp() WHERE id LIKE %s", (instance,))


def test_an_instance_is_registered_and_renewed(api: ApiClient) -> None:
    """201 with its path, then 200 with what the last PUT said."""
    made = put(api, metadata={"zone": "a"})
    assert made.status == 201
    assert InstanceAnswer().validate(made.json) == {}
    assert {name: made.json[name] for name in ("service", "id", "address", "lease_s", "metadata")} == {
        "service": "mail", "id": "mail-1", "address": "10.0.0.5:8080", "lease_s": 30, "metadata": {"zone": "a"},
    }
    assert 0 < made.json["expires_in_ms"] <= 30_000
    assert api.get(made.headers["Location"]).json["registered_at"] == made.json["registered_at"]

    again = put(api, address="https://mail.example.com/in", lease_s=3600)
    assert (again.status, "Location" in again.headers) == (200, False)
    assert (again.json["address"], again.json["metadata"]) == ("https://mail.example.com/in", {})
    assert again.json["registered_at"] == made.json["registered_at"]
    assert again.json["expires_at"] > made.json["expires_at"]


def test_a_heartbeat_renews_for_the_same_time(api: ApiClient, database_url: str) -> None:
    """The lease begins again, and everything else stays."""
    made = put(api, lease_s=600).json
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE service_instances SET expires_at = clock_timestamp() + interval '5 s'")
    renewed = api.call("POST", "/api/services/mail/instances/mail-1/heartbeat")
    assert renewed.status == 200
    assert renewed.json["expires_in_ms"] > 590_000
    moving = {"expires_at", "expires_in_ms"}
    assert {k: v for k, v in renewed.json.items() if k not in moving} == {k: v for k, v in made.items() if k not in moving}


def test_an_instance_whose_lease_has_ended_is_not_there(api: ApiClient, database_url: str) -> None:
    """By the database's clock, whether its row is still there or not; it can come again as a new one."""
    first = put(api).json
    put(api, "mail-2")
    end_leases(database_url, "mail-1")
    path = "/api/services/mail/instances/mail-1"
    assert ids(api) == ["mail-2"]
    assert own(api) == {"mail": 1}
    assert api.get(path).code == "not_found"
    assert api.call("POST", f"{path}/heartbeat").code == "not_found"
    assert api.call("DELETE", path).code == "not_found"
    again = put(api)
    assert again.status == 201
    assert again.json["registered_at"] > first["registered_at"]


@pytest.mark.slow
def test_a_lease_ends_by_itself(api: ApiClient) -> None:
    """A second after the last heartbeat, and not before."""
    left_ms = put(api, lease_s=1).json["expires_in_ms"]
    assert left_ms <= 1000
    wait_until(lambda: ids(api) == [], 10)
    assert api.get("/api/services/mail/instances/mail-1").code == "not_found"


def test_an_instance_can_go_at_once(api: ApiClient) -> None:
    """204, and 404 for one that is not there."""
    put(api)
    assert api.call("DELETE", "/api/services/mail/instances/mail-1").status == 204
    assert ids(api) == []
    assert api.call("DELETE", "/api/services/mail/instances/mail-1").code == "not_found"


def test_a_name_that_nobody_has_is_an_empty_list(api: ApiClient) -> None:
    """A service without instances is not told from one that never had any."""
    reply = api.get("/api/services/nobody")
    assert (reply.status, reply.json) == (200, {"data": [], "next_cursor": None})


def test_services_and_instances_come_in_pages(api: ApiClient) -> None:
    """Instances in the order of registration, which a renewal does not change; services by their oldest instance."""
    for number in range(5):
        put(api, f"mail-{number}")
        put(api, "only", f"service-{number}")
    put(api, "mail-0", lease_s=40)

    def all_of(path: str) -> list[dict[str, Any]]:
        seen, cursor = [], ""
        while True:
            page = api.get(f"{path}?limit=2{cursor}").json
            assert (ServicePage() if path == "/api/services" else InstancePage()).validate(page) == {}
            seen += page["data"]
            if page["next_cursor"] is None:
                return seen
            cursor = f"&cursor={page['next_cursor']}"

    assert [i["id"] for i in all_of("/api/services/mail")] == [f"mail-{n}" for n in range(5)]
    names = [s["service"] for s in all_of("/api/services") if s["service"] != "ledgerd"]
    assert names == ["mail", *(f"service-{n}" for n in range(5))]
    cursor = api.get("/api/services/mail?limit=2").json["next_cursor"]
    assert api.get(f"/api/services/service-1?cursor={cursor}").fields == ["cursor"]


def test_two_ledgers_never_meet(api: ApiClient, other: ApiClient) -> None:
    """The same names in both, and neither sees, renews or removes what the other has."""
    put(api, address="10.0.0.1:1")
    put(other, address="10.0.0.2:2")
    put(other, "mail-2")
    path = "/api/services/mail/instances"
    assert (ids(api), ids(other)) == (["mail-1"], ["mail-1", "mail-2"])
    assert (own(api), own(other)) == ({"mail": 1}, {"mail": 2})
    assert api.get(f"{path}/mail-1").json["address"] == "10.0.0.1:1"
    assert api.get(f"{path}/mail-2").code == "not_found"
    assert api.call("POST", f"{path}/mail-2/heartbeat").code == "not_found"
    assert api.call("DELETE", f"{path}/mail-2").code == "not_found"
    assert api.call("DELETE", f"{path}/mail-1").status == 204
    assert ids(other) == ["mail-1", "mail-2"]


WRONG = [
    ({"lease_s": 30}, "address"),
    ({"address": "10.0.0.5:8080"}, "lease_s"),
    *(({**GOOD, "lease_s": lease}, "lease_s") for lease in (0, -1, 3601, 31_536_000, 1.5, "30", True, None)),
    *(
        ({**GOOD, "address": address}, "address")
        for address in (
            None, 5, "", "host", "host:0", "host:65536", "http://user:secret@host", "ftp://host", "http://host?x=1",
            "host:80\n", "h" * 512 + ":80", "http://host/" + "p" * 512, "file:///etc/passwd", "http://host\x00",
        )
    ),
    *(({**GOOD, "metadata": value}, "metadata") for value in ([], "x", {"k": 1.5}, {"k": "\x00"}, {"k": "v" * 20_000})),
    ({**GOOD, "ledger_id": 2}, "ledger_id"),
]


@pytest.mark.parametrize(("body", "field"), WRONG, ids=lambda v: v if isinstance(v, str) else repr(v)[:60])
def test_a_wrong_field_is_named(api: ApiClient, body: dict[str, Any], field: str) -> None:
    """422 that says what would be right; nothing is registered."""
    reply = api.call("PUT", "/api/services/mail/instances/mail-1", body)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", [field])
    assert own(api) == {}


@pytest.mark.parametrize("lease_s", [0, 31_536_000])
def test_a_wrong_lease_is_told_the_range(api: ApiClient, lease_s: int) -> None:
    """From a second to an hour."""
    assert put(api, lease_s=lease_s).json["errors"] == [
        {"field": "lease_s", "message": "expected a whole number from 1 to 3600"}
    ]


@pytest.mark.parametrize("name", ["Mail", "a_b", "-a", "a" * 64, "a.b", "%20", "caf%C3%A9"])
def test_a_wrong_name_in_the_path_is_named(api: ApiClient, name: str) -> None:
    """422 for every method, since a client chooses it."""
    one = f"/api/services/{name}/instances/x"
    replies = [
        api.get(f"/api/services/{name}"), put(api, "x", name), api.get(one), api.call("DELETE", one),
        api.call("POST", f"{one}/heartbeat"),
    ]
    assert [(reply.status, reply.fields) for reply in replies] == [(422, ["service"])] * 5


@pytest.mark.parametrize("instance", ["-a", "_a", "a" * 129, "a%20b", "a%0A", "a:b", "a*"])
def test_a_wrong_id_in_the_path_is_named(api: ApiClient, instance: str) -> None:
    """The same for ids."""
    one = f"/api/services/mail/instances/{instance}"
    replies = [put(api, instance), api.get(one), api.call("DELETE", one), api.call("POST", f"{one}/heartbeat")]
    assert [(reply.status, reply.fields) for reply in replies] == [(422, ["instance_id"])] * 4


@pytest.mark.parametrize("name", ["ledgerd", "ledgerd-grpc"])
def test_nobody_registers_as_ledgerd(application: Application, database_url: str, name: str) -> None:
    """Not even an operator: 403 that names the service. Whoever may read services may look."""
    for scope in ("admin", "operator", "services:write"):
        client = ApiClient(application, make_key(database_url, "main", scope))
        one = f"/api/services/{name}/instances/x"
        for reply in (put(client, "x", name), client.call("POST", f"{one}/heartbeat"), client.call("DELETE", one)):
            assert (reply.status, reply.code) == (403, "forbidden")
    reader = ApiClient(application, make_key(database_url, "main", "services:read"))
    assert reader.get(f"/api/services/{name}").status == 200


@pytest.mark.parametrize("name", ["mail", "ledgerds", "ledgerd0", "a-ledgerd", "led", "ledgerd", "ledgerd-", "ledgerd-grpc"])
def test_the_document_says_which_names_are_not_to_be_had(name: str) -> None:
    """Where one writes; the rule and the pattern agree."""
    for route in ("put", "delete"):
        described = the_document()["paths"]["/api/services/{service}/instances/{instance_id}"][route]["parameters"]
        (pattern,) = [each["schema"]["pattern"] for each in described if each.get("name") == "service"]
        assert bool(re.search(pattern, name)) is not is_of_host(name)


def test_the_host_s_own_are_seen_by_every_ledger(api: ApiClient, other: ApiClient, pool: Pool) -> None:
    """They are rows of the ledger 0, which no key has."""
    store = ServiceRepository(pool, Queries(sql_folder() / "queries"))
    store.register(background(), 0, Registration("ledgerd-test", "a", "127.0.0.1:9", 60, {}), most=10)
    for client in (api, other):
        assert ids(client, "ledgerd-test") == ["a"]
        assert {"service": "ledgerd-test", "instances": 1} in client.get("/api/services").json["data"]


def test_a_ledger_has_so_many_instances_and_no_more(pool: Pool, database_url: str) -> None:
    """The next is refused, whoever comes at the same time; renewals pass, and what has expired makes room."""
    registry = Registry(ServiceRepository(pool, Queries(sql_folder() / "queries")), most=5)
    refused: list[str] = []

    def register(number: int) -> None:
        try:
            registry.register(background(), 1, Registration("mail", f"mail-{number}", "h:1", 60, {}))
        except LimitExceeded as error:
            refused.append(error.message)

    threads = [Thread(target=register, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    there = registry.list(background(), 1, "mail")
    assert (len(there), len(refused)) == (5, 7)
    assert refused[0] == "This ledger has 5 instances of services, and can have no more."

    _, is_new = registry.register(background(), 1, Registration("mail", there[0].id, "h:2", 60, {}))
    assert not is_new
    registry.register(background(), 2, Registration("mail", "mail-1", "h:1", 60, {}))  # another ledger's matter
    end_leases(database_url, there[0].id)
    _, is_new = registry.register(background(), 1, Registration("mail", "next", "h:1", 60, {}))
    assert is_new
    with psycopg.connect(database_url) as conn:
        rows = conn.execute("SELECT count(*) FROM service_instances WHERE ledger_id = 1").fetchone()
    assert rows == (5,)


def test_the_bound_is_told_as_a_limit(api: ApiClient, database_url: str, ledger: str) -> None:
    """422 `limit_exceeded`."""
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "INSERT INTO service_instances (ledger_id, service, id, address, lease_s, metadata, expires_at)"
            " SELECT ledgers.id, 'mail', 'i' || n, 'h:1', 60, '{}', clock_timestamp() + interval '1 h'"
            " FROM ledgers, generate_series(1, %s) n WHERE name = %s",
            (MOST_INSTANCES, ledger),
        )
    reply = put(api, "one-more")
    assert (reply.status, reply.code) == (422, "limit_exceeded")
    assert put(api, "i1").status == 200


def test_what_has_expired_is_swept(pool: Pool, database_url: str, ledger: str, api: ApiClient) -> None:
    """Rows whose lease has ended are removed, others not; a row that somebody holds is left for the next time."""
    for number in range(4):
        put(api, f"mail-{number}")
    end_leases(database_url)
    put(api, "mail-3")
    store = ServiceRepository(pool, Queries(sql_folder() / "queries"))
    with psycopg.connect(database_url) as conn:
        ours = "ledger_id = (SELECT id FROM ledgers WHERE name = %s)"
        conn.execute(f"SELECT FROM service_instances WHERE id = 'mail-0' AND {ours} FOR UPDATE", (ledger,))
        assert store.delete_expired(background()) >= 2
    rows = f"SELECT id FROM service_instances WHERE {ours} ORDER BY id"
    with psycopg.connect(database_url) as conn:
        assert conn.execute(rows, (ledger,)).fetchall() == [("mail-0",), ("mail-3",)]
    store.delete_expired(background())
    with psycopg.connect(database_url) as conn:
        assert conn.execute(rows, (ledger,)).fetchall() == [("mail-3",)]
