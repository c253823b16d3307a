"""GET /api/events as far as it has an end: what is refused, and what is chosen of the past."""

from __future__ import annotations

import json

import pytest

from service.app import Application
from tests.client import ApiClient
from tests.conftest import make_key

WRONG = [
    ("after=999999", {}, "after"), ("after=-1", {}, "after"), ("after=", {}, "after"), ("after=1e3", {}, "after"),
    ("after=99999999999999999999", {}, "after"), ("after=1&after=2", {}, "after"), ("after=01", {}, "after"),
    ("", {"Last_Event_ID": "999999"}, "Last-Event-ID"), ("after=0", {"Last_Event_ID": "x"}, "Last-Event-ID"),
    ("types=", {}, "types"), ("types=transfer", {}, "types"), ("types=transfer.posted,,hold.placed", {}, "types"),
    ("account_id=0", {}, "account_id"), ("account_id=a", {}, "account_id"), ("account_id=", {}, "account_id"),
    ("account_id=" + ",".join(map(str, range(1, 102))), {}, "account_id"), ("follow=maybe", {}, "follow"),
    ("nothing=1", {}, "nothing"), ("", {"Request_Timeout": "0"}, "Request-Timeout"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "headers", "field"), WRONG)
def test_what_is_wrong_is_told_before_the_stream(api: ApiClient, query: str, headers: dict[str, str], field: str) -> None:
    """422 that names the field, be the id forged or of the future."""
    reply = api.get(f"/api/events?{query}", **headers)
    assert (reply.status, reply.code) == (422, "invalid_input")
    assert [problem["field"] for problem in reply.json["errors"]] == [field]


def ids(api: ApiClient, query: str, **headers: str) -> list[int]:
    """The ids of the events that there are."""
    reply = api.get(f"/api/events?follow=false&{query}", **headers)
    assert reply.status == 200, reply.body
    return [json.loads(line[6:])["id"] for line in reply.body.decode().split("\n") if line.startswith("data: ")]


def test_filters(api: ApiClient) -> None:
    """By types and accounts, each with commas or given again; of both, what fits both."""
    a, b, c = (api.account(min_balance=None)["id"] for _ in range(3))
    first, hold, other = (
        api.transfer(source, target, 1, **more).json["id"]
        for source, target, more in ((a, b, {}), (a, b, {"hold": True}), (c, a, {}))
    )
    for query, wanted in (
        ("types=transfer.posted,hold.placed", [first, hold, other]),
        ("types=transfer.posted&types=hold.placed", [first, hold, other]),
        ("types=hold.placed", [hold]),
        (f"account_id={c}&types=transfer.posted", [other]),
        (f"account_id={c},{b}&types=transfer.posted", [first, other]),
        (f"account_id={c}&account_id={b}&types=transfer.posted", [first, other]),
        ("account_id=999", []),
    ):
        assert ids(api, f"after=0&{query}") == wanted, query


def test_without_following_it_ends_with_what_there_is(api: ApiClient) -> None:
    """From the beginning, from the middle, from the end; from now on there is nothing."""
    for _ in range(3):
        api.account()
    everything = ids(api, "after=0")
    assert len(everything) == 3
    for place, event_id in enumerate(everything, 1):
        assert ids(api, f"after={event_id}") == everything[place:]
        assert ids(api, "after=0", Last_Event_ID=str(event_id)) == everything[place:]
    assert ids(api, "types=transfer.posted") == []


def test_a_stopping_process_takes_no_more(application: Application, api: ApiClient) -> None:
    """503, at once, with a word when to ask again."""
    application.drain()
    reply = api.get("/api/events")
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "unavailable", "1")


def test_places_are_given_back(application: Application, database_url: str, api: ApiClient) -> None:
    """Whatever became of them: refused, ended, answered without a body."""
    others = ApiClient(application, make_key(database_url, "main", "users:read"))
    for _ in range(5):
        assert others.get("/api/events").status == 403
        assert api.get("/api/events?after=77").status == 422
        assert api.call("HEAD", "/api/events").status == 200
        assert ids(api, "after=0") == []
    assert application.resources.feed.clients == 0
