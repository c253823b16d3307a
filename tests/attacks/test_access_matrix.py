"""Every route with every scope, in its own and in a foreign ledger, generated from the routes themselves."""

from __future__ import annotations

import re
from typing import Any

import pytest

from service.api.routes import Route
from service.app import Application
from service.config import Config
from tests.attacks.conftest import contents
from tests.attacks.world import (
    INSTANCE,
    NEUTRAL,
    OF_ANY_NAME,
    OF_EVERY_LEDGER,
    TEMPTING,
    World,
    all_but,
    body_for,
    id_fields,
    listed,
    made,
    missing,
    send,
    variables,
)
from tests.client import ApiClient, Reply
from tests.integration.conftest import open_pool
from tests.seals import seal_all, seal_repository

PUBLIC = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"}
ROUTES: list[Route] = Application(Config(database_url="postgresql://nowhere")).routes
REGISTER = next(route for route in ROUTES if route.method == "PUT" and "<instance_id>" in route.path)
GUARDED = [route for route in ROUTES if route.scope is not None]
TENANT = [route for route in GUARDED if not route.scopes & OF_EVERY_LEDGER]


def name_of(route: Any) -> str:
    """A route in the name of a test."""
    return f"{route.method} {route.path}" if isinstance(route, Route) else str(route)


def asked(route: Route, world: World) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Ids and a body with which the route would do something; for operators' routes, some that would do if it got there."""
    if route not in TENANT:
        return dict.fromkeys(variables(route), "1"), None if route.body is None else {}
    return {name: made(name, world.own) for name in variables(route)}, body_for(route.body, world.own)


def same(first: Reply, second: Reply, ids: tuple[str, str]) -> None:
    """Two answers that tell the same, but for the id that was asked for and the id of the request."""
    assert first.status == second.status
    shown = [
        re.sub(rf"\b{asked}\b", "ID", reply.body.decode().replace(reply.headers["X-Request-ID"], ""))
        for reply, asked in zip((first, second), ids, strict=True)
    ]
    assert shown[0] == shown[1]
    assert first.headers.keys() == second.headers.keys()


def test_only_known_paths_are_open() -> None:
    """A route without a scope is open to everybody: it must be listed here, on purpose."""
    opened = {route.path for route in ROUTES if route.scope is None}
    assert not [path for path in opened - PUBLIC if not path.startswith("/docs/")]
    assert len(GUARDED) > 10


@pytest.mark.parametrize("route", GUARDED, ids=name_of)
def test_without_a_key_nothing_is_done(world: World, route: Route) -> None:
    """401, whatever is asked for."""
    ids, body = asked(route, world)
    before = contents(world.database_url)
    reply = send(ApiClient(world.application, None), route, ids, body)
    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert contents(world.database_url) == before


@pytest.mark.parametrize(
    ("route", "scope"), [(route, scope) for route in GUARDED for scope in sorted(route.scopes)], ids=name_of
)
def test_without_its_scope_a_route_is_closed(world: World, route: Route, scope: str) -> None:
    """With every other scope that there is: 403 that names the one, and nothing is changed."""
    ids, body = asked(route, world)
    client = world.with_scopes(all_but(scope))
    before = contents(world.database_url)
    reply = send(client, route, ids, body)
    assert (reply.status, reply.code) == (403, "forbidden")
    assert repr(scope) in reply.json["detail"]
    assert contents(world.database_url) == before


@pytest.mark.parametrize("route", TENANT, ids=name_of)
def test_with_its_scopes_alone_a_route_is_open(world: World, route: Route) -> None:
    """No other scope is needed, and the call does what it says."""
    ids, body = asked(route, world)
    reply = send(world.with_scopes(route.scopes), route, ids, body)
    assert reply.status in route.answers, reply.body


@pytest.mark.parametrize(
    ("route", "name"),
    [(r, name) for r in TENANT if (r.method, r.path) not in OF_ANY_NAME for name in variables(r)], ids=name_of,
)
def test_what_another_ledger_has_is_not_there(world: World, route: Route, name: str) -> None:
    """Its id is answered as one that nobody has, to the letter, and nothing is changed."""
    foreign, nobodys = made(name, world.other), missing(name)
    others = {other: made(other, world.own) for other in variables(route) if other != name}
    body, before = body_for(route.body, world.own), contents(world.database_url)
    replies = [send(world.own, route, {**others, name: value}, body) for value in (foreign, nobodys)]
    assert (replies[0].status, replies[0].code) == (404, "not_found")
    same(*replies, (foreign, nobodys))
    assert contents(world.database_url) == before


@pytest.mark.parametrize(
    ("route", "field"), [(route, field) for route in TENANT for field in id_fields(route.body)], ids=name_of
)
def test_an_id_of_another_ledger_in_a_body_is_not_there(world: World, route: Route, field: str) -> None:
    """The same, for each member of a body that is an id."""
    kind = id_fields(route.body)[field]
    foreign, nobodys = made(kind, world.other), missing(kind)
    ids, body = asked(route, world)
    before = contents(world.database_url)
    replies = [send(world.own, route, ids, {**(body or {}), field: int(value)}) for value in (foreign, nobodys)]
    assert (replies[0].status, replies[0].code) == (404, "not_found")
    same(*replies, (foreign, nobodys))
    assert contents(world.database_url) == before


@pytest.mark.parametrize(
    ("route", "parameter"),
    [(route, p.name) for route in TENANT if 101 not in route.answers for p in route.query if p.name not in NEUTRAL],
    ids=name_of,
)
def test_a_filter_finds_nothing_of_another_ledger(world: World, route: Route, parameter: str) -> None:
    """A list by what another ledger has is empty, as by what nobody has; and there it does find something."""
    ids = {name: made(name, world.own) for name in variables(route)}
    if parameter == "ledger":  # it names a ledger itself: for operators alone
        assert send(world.own, route, ids, None, {"ledger": "other"}).code == "forbidden"
        return
    if parameter.endswith("_id"):
        foreign, nobodys = made(parameter, world.other), missing(parameter)
    else:
        assert parameter in TEMPTING, f"say in TEMPTING or NEUTRAL of tests/attacks/world.py what {parameter!r} finds"
        world.tempt(world.other)
        foreign, nobodys = TEMPTING[parameter], "nobody-has-this"
        assert listed(send(world.other, route, {}, None, {parameter: foreign}))
    replies = [send(world.own, route, ids, None, {parameter: value}) for value in (foreign, nobodys)]
    assert replies[0].status == 200
    assert listed(replies[0]) == []
    same(*replies, (foreign, nobodys))


@pytest.mark.parametrize("route", [r for r in TENANT if "cursor" in {p.name for p in r.query}], ids=name_of)
def test_a_cursor_of_another_ledger_is_refused(world: World, route: Route) -> None:
    """It is good for the list that it came from, and for that alone."""
    for client in (world.own, world.other):
        for _ in range(2):
            made("transfer_id", client)
            made("user_id", client)
        for service in ("first", "second"):
            send(client, REGISTER, {"service": service, "instance_id": "one"}, INSTANCE)
    ids = {name: made(name, world.other) for name in variables(route)}
    if "account_id" in ids:
        for _ in range(2):
            world.other.transfer(int(ids["account_id"]), int(made("account_id", world.other)), 1)
    if "webhook_id" in ids:
        for _ in range(2):
            made("event_id", world.other)
    with open_pool(world.database_url) as pool:
        seal_all(seal_repository(pool), most_rows=1)
    cursor = send(world.other, route, ids, None, {"limit": "1"}).json["next_cursor"]
    assert cursor
    mine = {name: made(name, world.own) for name in variables(route)}
    reply = send(world.own, route, mine, None, {"cursor": cursor})
    assert (reply.status, reply.fields) == (422, ["cursor"])
