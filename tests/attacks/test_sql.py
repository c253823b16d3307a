"""SQL wherever a client may send text: it comes back as it was, or is refused, and nothing else happens.

The fields are those of the schemas, the parameters and headers those of the routes: new ones are attacked by themselves.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from service.api.routes import Route
from service.app import Application
from service.config import Config
from tests.attacks.conftest import assert_tells_nothing, contents
from tests.attacks.world import BODIES, World, body_for, listed, made, send, variables
from tests.client import ApiClient, Reply

ROUTES: list[Route] = [r for r in Application(Config(database_url="postgresql://nowhere")).routes if r.scope is not None]
WRITES = [route for route in ROUTES if route.body is not None and type(route.body).__name__ in BODIES]
READS = [route for route in ROUTES if route.query]
CHOSEN = {"service", "instance_id"}  # names that clients choose, not ids
HEADERS = ("Authorization", "Idempotency-Key", "If-Match", "X-Request-ID", "Request-Timeout", "traceparent")
INJECTIONS = [
    "'", "''", '"', "\\", "\\'", "';--", "' OR '1'='1", "' OR 1=1--", "1 OR 1=1", "1; DROP TABLE users",
    "'); DROP TABLE transfers;--", "'; UPDATE accounts SET balance = 1000000;--", "' UNION SELECT value FROM secrets--",
    "1) OR (1=1", "$1", "%s", "%(name)s", "%%", "{0}", ":name", "?", "$$; DELETE FROM users; $$", "E'\\x27'", "U&'\\0027'",
    "/* */", "'||pg_sleep(9)||'", "' AND pg_sleep(9)--", "\u02bc OR 1=1", "\uff07 OR 1=1", "%27 OR 1=1", "{1,2}", '{"a": 1}',
    "NULL", "0x27", "1e1", "-1", "a' COLLATE nothing", "_%", "%", "LIKE '%'", "\t'", "'\n;DROP TABLE users",
]  # fmt: skip


@pytest.fixture
def world(world: World) -> World:
    """New ledgers on the same database: what the test before has written is not found."""
    return World(world.application, world.database_url)


def schema_of(database_url: str) -> list[Any]:
    """Tables, columns, functions and roles, as far as a statement could change them."""
    queries = (
        "SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid"
        " WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2",
        "SELECT proname, md5(prosrc) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1, 2",
        "SELECT tgname, tgenabled FROM pg_trigger ORDER BY 1, 2",
        "SELECT rolname FROM pg_roles ORDER BY 1",
    )
    with psycopg.connect(database_url) as conn:
        return [conn.execute(query).fetchall() for query in queries]


def values_in(value: Any) -> list[Any]:
    """Every string in a JSON value."""
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in (name, *values_in(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in values_in(inner)]
    return [value] if isinstance(value, str) else []


def assert_refused(reply: Reply) -> None:
    """A client's error, told in our words alone."""
    assert 400 <= reply.status < 500, (reply.status, reply.body)
    if reply.code not in ("not_found", "invalid_input"):  # these name what was sent
        assert_tells_nothing(reply.headers, reply.body)


@pytest.mark.parametrize("route", WRITES, ids=lambda route: f"{route.method} {route.path}")
def test_in_every_field_of_a_body(world: World, route: Route) -> None:
    """Each field of the schema takes each text as it is, or refuses it; and only what was asked for is made."""
    assert route.body is not None
    before = schema_of(world.database_url)
    ids = {name: made(name, world.own) for name in variables(route)}
    taken = 0
    for field in route.body.load_fields:
        good = body_for(route.body, world.own)
        assert good is not None
        for number, injection in enumerate(INJECTIONS):
            sent = {"note": injection, injection: "name"} if field == "metadata" else injection
            if field == "email":
                sent = f"{number}.{route.method}@{injection.replace('@', '')}.example"
            elif "email" in good:
                good["email"] = f"sql{number}.{field}.{route.method}@example.com"
            reply = send(world.own, route, ids, {**good, field: sent})
            if reply.status < 300:
                taken += 1
                assert reply.json[field] == sent
                assert world.own.get(reply.headers.get("Location", "/healthz")).json.get(field, sent) == sent
            else:
                assert_refused(reply)
    assert schema_of(world.database_url) == before
    assert taken or not {"name", "reference", "metadata"} & route.body.load_fields.keys()


@pytest.mark.parametrize("route", READS, ids=lambda route: f"{route.method} {route.path}")
def test_in_every_parameter(world: World, route: Route) -> None:
    """A list that is asked for with SQL is empty or refused; it never is everything, and nothing is changed."""
    world.tempt(world.own)
    world.tempt(world.other)
    ids = {name: made(name, world.own) for name in variables(route)}
    before, shape = contents(world.database_url), schema_of(world.database_url)
    for parameter in route.query:
        for injection in INJECTIONS:
            reply = send(world.own, route, ids, None, {parameter.name: quote(injection)})
            if reply.status == 200 and route.method == "POST":  # an import of nothing, by that name
                assert reply.json["posted"] == 0
            elif reply.status == 200:
                assert listed(reply) == [], (parameter.name, injection)
            else:
                assert_refused(reply)
    assert contents(world.database_url) == before
    assert schema_of(world.database_url) == shape


@pytest.mark.parametrize("route", [r for r in ROUTES if variables(r)], ids=lambda route: f"{route.method} {route.path}")
def test_in_every_id_of_a_path(world: World, route: Route) -> None:
    """There is nothing there."""
    good = {name: made(name, world.own) for name in variables(route) if name != "ledger_id"}
    body, before = (body_for(route.body, world.own) if good else None), contents(world.database_url)
    for name in variables(route):
        for injection in INJECTIONS:
            if name in CHOSEN and re.fullmatch(r"[A-Za-z0-9._-]+", injection):
                continue  # as good a name as any
            path = quote(injection.replace("/", "|").replace("\\", "|"), safe="")
            reply = send(world.own, route, {**good, name: path}, body)
            refusals = [(404, "not_found"), (403, "forbidden"), *([(422, "invalid_input")] if name in CHOSEN else [])]
            assert (reply.status, reply.code) in refusals, injection
    assert contents(world.database_url) == before


@pytest.mark.parametrize("header", HEADERS)
def test_in_every_header(api: ApiClient, database_url: str, header: str) -> None:
    """Idempotency keys come back to be compared; the others are taken apart, or ignored."""
    first, second = api.account(min_balance=None)["id"], api.account()["id"]
    body = {"from_account_id": first, "to_account_id": second, "amount": 1}
    before, posted = contents(database_url), 0
    for injection in INJECTIONS:
        if not injection.isascii() or not injection.isprintable():
            continue
        value = f"Bearer {injection}" if header == "Authorization" else injection
        reply = api.post("/api/transfers", body, **{header: value})
        posted += reply.status == 201
        if reply.status != 201:
            assert_refused(reply)
    after = contents(database_url)
    assert len(after["transfers"]) == len(before["transfers"]) + posted
    assert after["users"] == before["users"]
    assert after["accounts"] != before["accounts"] or posted == 0
    assert api.get(f"/api/accounts/{second}/balance").json["balance"] == posted
    if header == "Idempotency-Key":
        assert posted > 10
        replayed = api.post("/api/transfers", body, Idempotency_Key="%(name)s")
        assert replayed.headers["Idempotency-Replayed"] == "true"


def test_a_cursor_is_no_place_for_sql(api: ApiClient) -> None:
    """It is signed: what was changed in it is refused, whatever it is."""
    for number in range(3):
        api.user(email=f"page{number}@example.com")
    cursor = api.get("/api/users?limit=1").json["next_cursor"]
    for changed in ("' OR 1=1--", cursor[:-2] + "AA", cursor[::-1], cursor + "A", cursor[:10], "=" * len(cursor)):
        reply = api.get(f"/api/users?limit=1&cursor={quote(changed, safe='')}")
        assert (reply.status, reply.fields) == (422, ["cursor"])


def test_search_takes_no_wildcard(api: ApiClient) -> None:
    """A percent sign or an underscore finds what has it, and not everything."""
    api.user(name="hundred%", email="a@b.example")
    api.user(name="Ada", email="c@d.example")
    assert [hit["user"]["name"] for hit in api.get("/api/search?q=hundred").json["data"]] == ["hundred%"]
    for text in ("%25%25", "__", ".*", "%5C%25", "%27%27"):
        assert api.get(f"/api/search?q={text}").json["data"] == [], text
