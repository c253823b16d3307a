"""Rate limits, through the whole middleware: who is counted, what is told, and that a refused call does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from service.app import Application
from service.concurrency.context import background
from service.config import Config
from service.database import open_keys
from tests.client import ApiClient
from tests.conftest import make_key
from tests.serving import wait_until

NEVER = 0.02  # a second: nothing flows in while a test runs, and Retry-After is 50
Start = Callable[..., Application]


@pytest.fixture
def start(config: Config) -> Iterator[Start]:
    """Starts an application with other limits; several share the run folder, as the processes of a host do."""
    with ExitStack() as stack:

        def start_one(**settings: Any) -> Application:
            app = Application(replace(config, **settings)).open()
            stack.callback(app.close, 10)
            return app

        yield start_one


def wrong(number: int) -> str:
    """A key that could be one."""
    return f"ldg_{number:012x}_{'0' * 64}"


def lookups(app: Application) -> list[str]:
    """The ids of the keys that the database is asked for from now on."""
    asked: list[str] = []
    find = app.resources.key_repository.find_credentials
    app.resources.key_repository.find_credentials = (  # type: ignore[method-assign]
        lambda ctx, key_id: (asked.append(key_id), find(ctx, key_id))[1]
    )
    return asked


def test_a_key_has_its_burst_and_is_then_refused(start: Start, key: str) -> None:
    """429 `rate_limited`, with the time to wait, before anything is done."""
    api = ApiClient(start(rate_limit=NEVER, rate_burst=3), key)
    assert [api.post("/api/users", {"name": "A", "email": f"{n}@example.com"}).status for n in range(2)] == [201, 201]
    assert [user["email"] for user in api.get("/api/users").json["data"]] == ["0@example.com", "1@example.com"]
    refused = api.post("/api/users", {"name": "A", "email": "late@example.com"})
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert 40 < int(refused.headers["Retry-After"]) <= 50
    assert refused.headers["RateLimit-Policy"] == '"key";q=3;w=150'
    assert refused.headers["RateLimit"].startswith('"key";r=0;t=1')


def test_a_refused_call_does_nothing(start: Start, key: str, database_url: str) -> None:
    """No row is there that it would have made."""
    api = ApiClient(start(rate_limit=NEVER, rate_burst=1), key)
    assert api.get("/api/users").status == 200
    assert api.post("/api/users", {"name": "A", "email": "a@example.com"}).status == 429
    other = ApiClient(start(rate_limit=NEVER, rate_burst=1), make_key(database_url))
    assert other.get("/api/users").json["data"] == []


def test_every_answer_to_a_key_tells_what_is_left(start: Start, key: str) -> None:
    """Successes and errors; in the order of the calls."""
    api = ApiClient(start(rate_limit=10, rate_burst=20, cors_origins=("https://a.example",)), key)
    replies = [
        api.get("/api/users"), api.get("/api/users/1"), api.call("DELETE", "/api/transfers"), api.post("/api/users", {}),
        api.call("HEAD", "/api/users"), api.get("/api/nothing"), api.post("/api/transfers", {}),
        api.get("/api/users", Origin="https://a.example"),
    ]
    assert [reply.status for reply in replies] == [200, 404, 405, 422, 200, 404, 422, 200]
    assert {reply.headers["RateLimit-Policy"] for reply in replies} == {'"key";q=20;w=2'}
    left = [int(reply.headers["RateLimit"].split(";")[1].removeprefix("r=")) for reply in replies]
    assert left[0] == 19
    assert 12 <= left[-1] <= 19
    assert "RateLimit, RateLimit-Policy" in replies[-1].headers["Access-Control-Expose-Headers"]


def test_keys_do_not_share(start: Start, key: str, database_url: str) -> None:
    """Each has a bucket of its own, also two of one ledger."""
    app = start(rate_limit=NEVER, rate_burst=1)
    one, two = ApiClient(app, key), ApiClient(app, make_key(database_url))
    assert [client.get("/api/users").status for client in (one, one, two, two)] == [200, 429, 200, 429]


def test_all_processes_share(start: Start, key: str) -> None:
    """One bucket a key, whichever of them is asked, and also for one that starts later."""
    apps = [start(rate_limit=NEVER, rate_burst=4) for _ in range(2)]
    clients = [ApiClient(app, key) for app in apps]
    statuses = [clients[number % 2].get("/api/users").status for number in range(6)]
    assert statuses == [200] * 4 + [429] * 2
    assert ApiClient(start(rate_limit=NEVER, rate_burst=4), key).get("/api/users").status == 429


def test_what_sends_no_key_is_counted_for_its_address(start: Start, key: str) -> None:
    """Calls without a key, with no key at all, and with a wrong one share one bucket; another address has its own."""
    api = ApiClient(start(address_rate_limit=NEVER, address_rate_burst=3), None)
    statuses = [
        api.get("/api/users").status,
        api.get("/api/users", Authorization="Basic x").status,
        api.get("/api/users", Authorization=f"Bearer {wrong(1)}").status,
        api.get("/api/users").status,
        api.get("/api/users", Authorization=f"Bearer {wrong(2)}").status,
        api.call("GET", "/api/users", peer="192.0.2.1").status,
    ]
    assert statuses == [401, 401, 401, 429, 429, 401]
    refused = api.get("/api/users")
    assert (refused.code, int(refused.headers["Retry-After"]) > 40) == ("rate_limited", True)
    assert "RateLimit" not in refused.headers


def test_a_flood_of_wrong_keys_does_not_reach_the_database(start: Start) -> None:
    """One lookup for each token of the address, and none for what is refused."""
    app = start(address_rate_limit=NEVER, address_rate_burst=5)
    api = ApiClient(app, None)
    asked = lookups(app)
    statuses = [api.get("/api/users", Authorization=f"Bearer {wrong(n)}").status for n in range(50)]
    assert statuses == [401] * 5 + [429] * 45
    assert len(asked) == 5


def test_a_valid_key_is_not_held_up_by_wrong_ones(start: Start, key: str) -> None:
    """One that has been valid here before: not from the same address, not when it has to be looked up again."""
    app = start(address_rate_limit=NEVER, address_rate_burst=2)
    api, guesser = ApiClient(app, key), ApiClient(app, None)
    assert api.get("/api/users").status == 200
    assert [guesser.get("/api/users", Authorization=f"Bearer {wrong(n)}").status for n in range(4)] == [401, 401, 429, 429]
    asked = lookups(app)
    app.resources.authenticator.drop_all()
    assert api.get("/api/users").status == 200
    assert len(asked) == 1


def test_a_valid_key_costs_its_address_nothing(start: Start, key: str, database_url: str) -> None:
    """What is taken until it has proved to be valid is given back."""
    app = start(address_rate_limit=NEVER, address_rate_burst=1)
    for token in (key, make_key(database_url), make_key(database_url)):
        assert ApiClient(app, token).get("/api/users").status == 200
    assert ApiClient(app, None).get("/api/users").status == 401
    assert ApiClient(app, make_key(database_url)).get("/api/users").status == 429, "not known here, so it has to wait"


def test_a_revoked_key_is_counted_as_a_wrong_one(start: Start, key: str, database_url: str) -> None:
    """From its first refusal on."""
    api = ApiClient(start(address_rate_limit=NEVER, address_rate_burst=1), key)
    assert api.get("/api/users").status == 200
    with open_keys(database_url) as keys:
        keys.revoke(background(), key.split("_")[1])
    wait_until(lambda: api.get("/api/users").status == 401, 10)
    assert [api.get("/api/users").status for _ in range(2)] == [401, 429]


def test_probes_are_counted_apart_from_wrong_keys(start: Start) -> None:
    """Whoever guesses keys behind the same address takes no probe away."""
    api = ApiClient(start(address_rate_limit=NEVER, address_rate_burst=2), None)
    assert [api.get("/api/users").status for _ in range(3)] == [401, 401, 429]
    assert [api.get("/healthz").status, api.get("/readyz").status, api.get("/readyz").status] == [200, 200, 429]


def test_a_preflight_costs_nothing(start: Start) -> None:
    """It is answered before anybody is asked who they are, and does nothing."""
    api = ApiClient(start(address_rate_limit=NEVER, address_rate_burst=1, cors_origins=("https://a.example",)), None)
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert [api.call("OPTIONS", "/api/users", **preflight).status for _ in range(5)] == [204] * 5
    assert api.get("/api/users").status == 401


def test_addresses_behind_a_trusted_proxy_are_told_apart(start: Start) -> None:
    """And what a client writes into the field itself gives it no further address."""
    app = start(address_rate_limit=NEVER, address_rate_burst=1, trusted_proxies=("127.0.0.1",))
    api = ApiClient(app, None)
    through = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "198.51.100.1, 192.0.2.1", "198.51.100.2, 192.0.2.2"]
    assert [api.get("/api/users", X_Forwarded_For=field).status for field in through] == [401, 429, 401, 429, 429]
    direct = [api.call("GET", "/api/users", peer="203.0.113.9", X_Forwarded_For=f"192.0.2.{n}").status for n in range(50, 53)]
    assert direct == [401, 429, 429]
