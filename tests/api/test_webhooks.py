"""Webhooks over HTTP: made, shown, changed, removed; secrets that are shown once; what could not be delivered."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from service.api.webhook_answers import DeliveryAnswer, NewWebhookAnswer, WebhookAnswer
from service.app import Application
from service.events.subscriptions import MOST_WEBHOOKS
from tests.client import ApiClient, Reply
from tests.conftest import make_key

URL = "https://shop.example.com/ledger"


def make(api: ApiClient, **fields: Any) -> dict[str, Any]:
    """A webhook."""
    reply = api.post("/api/webhooks", {"url": URL, **fields})
    assert reply.status == 201, reply.body
    made: dict[str, Any] = reply.json
    return made


def change(api: ApiClient, number: int, **changes: Any) -> Reply:
    """PATCH it."""
    return api.call("PATCH", f"/api/webhooks/{number}", changes)


def leave(database_url: str, webhook: int, status: str, *events: int) -> None:
    """Write that these events have not arrived, as a dispatcher does."""
    with psycopg.connect(database_url) as conn:
        for event in events:
            conn.execute(
                "INSERT INTO webhook_deliveries (ledger_id, webhook_id, event_id, status, attempts, account_ids, event_type,"
                " next_attempt_at, last_attempt_at, last_problem, died_at)"
                " VALUES ((SELECT ledger_id FROM webhooks WHERE id = %s), %s, %s, %s, 3, '{1,2}', 'transfer.posted',"
                " CASE WHEN %s = 'waiting' THEN now() END, now(), 'status 500', CASE WHEN %s = 'dead' THEN now() END)",
                (webhook, webhook, event, status, status, status),
            )


def test_a_webhook_is_made_and_its_secret_shown_once(api: ApiClient) -> None:
    """201 with its secret and its path; from there it is the same without the secret. Nothing may store the answer."""
    body = {"url": URL, "types": ["transfer.posted"], "account_ids": [1], "description": "shop"}
    made = api.post("/api/webhooks", body)
    assert made.status == 201
    assert NewWebhookAnswer().validate(made.json) == {}
    assert made.headers["Cache-Control"] == "no-store"
    shown = api.get(made.headers["Location"])
    assert WebhookAnswer().validate(shown.json) == {}
    assert shown.json == {name: value for name, value in made.json.items() if name != "secret"}
    assert made.json["secret"].startswith("whsec_")
    assert made.json["secret"] not in (api.get("/api/webhooks").body + shown.body).decode()


def test_it_begins_now_or_where_it_is_told_to(api: ApiClient) -> None:
    """After the last event there is; at the very beginning; after an event of this ledger, and of no other."""
    assert make(api)["position"] == 0
    account = api.account()["id"]
    last = make(api)["position"]
    assert last > 0
    assert make(api, after=0)["position"] == 0
    assert make(api, after=last)["position"] == last
    for after in (last + 1, 2**62):
        reply = api.post("/api/webhooks", {"url": URL, "after": after})
        assert (reply.status, reply.json["errors"][0]["field"]) == (422, "after")
    assert account


@pytest.mark.parametrize(
    ("body", "blamed"),
    [
        ({}, "url"), ({"url": None}, "url"), ({"url": "shop.example.com"}, "url"), ({"url": "http://127.0.0.1:5432/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data/"}, "url"), ({"url": "http://localhost:8080/"}, "url"),
        ({"url": "http://2130706433/"}, "url"), ({"url": "https://u:p@a.example/"}, "url"),
        ({"url": URL, "types": []}, "types"),
        ({"url": URL, "types": ["transfer.deleted"]}, "types[0]"), ({"url": URL, "account_ids": [0]}, "account_ids[0]"),
        ({"url": URL, "account_ids": list(range(1, 102))}, "account_ids"),
        ({"url": URL, "description": "x" * 201}, "description"), ({"url": URL, "after": -1}, "after"),
        ({"url": URL, "secret": "whsec_x"}, "secret"), ({"url": URL, "status": "enabled"}, "status"),
    ],
)
def test_bad_input_is_named(api: ApiClient, body: dict[str, Any], blamed: str) -> None:
    """422 with the field."""
    reply = api.post("/api/webhooks", body)
    assert (reply.status, reply.code) == (422, "invalid_input")
    assert blamed in [error["field"] for error in reply.json["errors"]]
    if "url" in body and blamed == "url":
        assert change(api, make(api)["id"], url=body["url"]).status == 422


def test_changes(api: ApiClient) -> None:
    """What is named is set, null too; what is not stays."""
    number = make(api, types=["hold.placed"], account_ids=[5], description="a")["id"]
    assert change(api, number).code == "invalid_input"
    changed = change(api, number, types=None, url="service://mail/in").json
    assert (changed["types"], changed["url"]) == (None, "service://mail/in")
    assert (changed["account_ids"], changed["description"]) == ([5], "a")
    changed = change(api, number, account_ids=None, description="").json
    assert (changed["account_ids"], changed["description"], changed["status"]) == (None, "", "enabled")
    disabled = change(api, number, status="disabled").json
    assert (disabled["status"], disabled["disabled_because"]) == ("disabled", "asked")
    assert change(api, number, description="b").json["disabled_because"] == "asked"
    enabled = change(api, number, status="enabled").json
    assert (enabled["status"], enabled["disabled_because"]) == ("enabled", None)


def test_a_secret_is_rotated(api: ApiClient) -> None:
    """A new one, shown once; how long the old one signs, or that it does not."""
    made = make(api)
    path = f"/api/webhooks/{made['id']}/rotate-secret"
    first = api.post(path, {})
    assert (first.status, first.headers["Cache-Control"]) == (200, "no-store")
    assert first.json["secret"] != made["secret"]
    assert first.json["old_secret_until"] is not None
    assert api.post(path, {"overlap_s": 0}).json["old_secret_until"] is None
    assert api.post(path, {"overlap_s": 8 * 86_400}).json["errors"][0]["field"] == "overlap_s"


def test_lists_are_pages(api: ApiClient) -> None:
    """In id order, those of the ledger."""
    numbers = [make(api)["id"] for _ in range(3)]
    page = api.get("/api/webhooks?limit=2").json
    assert [webhook["id"] for webhook in page["data"]] == numbers[:2]
    rest = api.get(f"/api/webhooks?limit=2&cursor={page['next_cursor']}").json
    assert [webhook["id"] for webhook in rest["data"]] == numbers[2:]


def test_a_webhook_is_removed(api: ApiClient, database_url: str) -> None:
    """With what it had not been told."""
    number = make(api)["id"]
    leave(database_url, number, "dead", 5)
    assert api.call("DELETE", f"/api/webhooks/{number}").status == 204
    assert api.call("DELETE", f"/api/webhooks/{number}").code == "not_found"
    assert api.get(f"/api/webhooks/{number}").code == "not_found"


def test_what_was_not_delivered_is_shown_and_sent_again(api: ApiClient, database_url: str) -> None:
    """In the order of events, by status; one dead event or all of them become waiting, with no attempts made."""
    number = make(api)["id"]
    leave(database_url, number, "dead", 5, 6, 9)
    leave(database_url, number, "waiting", 7)
    path = f"/api/webhooks/{number}"
    everything = api.get(f"{path}/deliveries").json["data"]
    assert [delivery["event_id"] for delivery in everything] == [5, 6, 7, 9]
    assert all(DeliveryAnswer().validate(delivery) == {} for delivery in everything)
    dead = api.get(f"{path}/deliveries?status=dead&limit=2").json
    assert [delivery["event_id"] for delivery in dead["data"]] == [5, 6]
    rest = api.get(f"{path}/deliveries?status=dead&limit=2&cursor={dead['next_cursor']}").json
    assert [delivery["event_id"] for delivery in rest["data"]] == [9]
    assert api.get(f"{path}/deliveries?status=sent").json["errors"][0]["field"] == "status"
    assert (api.get(path).json["waiting"], api.get(path).json["dead"]) == (1, 3)

    assert api.call("POST", f"{path}/deliveries/6/redeliver").status == 204
    (again,) = [delivery for delivery in api.get(f"{path}/deliveries").json["data"] if delivery["event_id"] == 6]
    assert (again["status"], again["attempts"], again["died_at"]) == ("waiting", 0, None)
    assert api.call("POST", f"{path}/deliveries/6/redeliver").code == "not_found"  # it is not dead any more
    assert api.call("POST", f"{path}/deliveries/8/redeliver").code == "not_found"
    assert api.call("POST", f"{path}/redeliver").json == {"redelivered": 2}
    assert api.call("POST", f"{path}/redeliver").json == {"redelivered": 0}


def test_another_ledgers_webhooks_are_not_there(application: Application, api: ApiClient, database_url: str) -> None:
    """404 for each path, as for one that was never made; and they are in no list."""
    number = make(api)["id"]
    leave(database_url, number, "dead", 5)
    other = ApiClient(application, make_key(database_url, "other"))
    path = f"/api/webhooks/{number}"
    replies = [
        other.get(path), change(other, number, status="disabled"), other.call("DELETE", path), other.get(f"{path}/deliveries"),
        other.post(f"{path}/rotate-secret", {}), other.call("POST", f"{path}/redeliver"),
        other.call("POST", f"{path}/deliveries/5/redeliver"), other.get("/api/webhooks/x"),
    ]
    assert [reply.code for reply in replies] == ["not_found"] * len(replies)
    assert other.get("/api/webhooks").json["data"] == []
    assert api.get(path).json["status"] == "enabled"


def test_scopes(application: Application, api: ApiClient, database_url: str, ledger: str) -> None:
    """To see and to change are two things."""
    number = make(api)["id"]
    reader = ApiClient(application, make_key(database_url, ledger, "webhooks:read"))
    writer = ApiClient(application, make_key(database_url, ledger, "webhooks:write"))
    assert reader.get(f"/api/webhooks/{number}").status == 200
    assert writer.get(f"/api/webhooks/{number}").code == "forbidden"
    assert reader.post("/api/webhooks", {"url": URL}).code == "forbidden"
    assert reader.post(f"/api/webhooks/{number}/rotate-secret", {}).code == "forbidden"
    assert writer.post("/api/webhooks", {"url": URL}).status == 201


def test_a_ledger_has_a_bounded_number(application: Application, api: ApiClient, database_url: str, ledger: str) -> None:
    """409 beyond it, also for those who come at once; another ledger has its own."""
    with psycopg.connect(database_url) as conn:
        conn.execute(
            "INSERT INTO webhooks (ledger_id, url, description, secret, cursor)"
            " SELECT (SELECT id FROM ledgers WHERE name = %s), 'https://a.example/', '', '\\x00', 0"
            " FROM generate_series(1, %s)",
            (ledger, MOST_WEBHOOKS - 1),
        )
    codes: list[int] = []

    def ask() -> None:
        codes.append(api.post("/api/webhooks", {"url": URL}).status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201, 409, 409, 409]
    assert make(ApiClient(application, make_key(database_url, "other")))["id"]


def test_operators_may_open_private_networks(database_url: str, key: str, tmp_path: Any) -> None:
    """By LEDGERD_WEBHOOK_NETWORKS."""
    from service.config import Config

    config = Config(
        database_url=database_url, data_dir=tmp_path, run_dir=tmp_path / "run", db_min_idle=1, db_max_open=4,
        log_level="warning", webhook_networks=("127.0.0.0/8",),
    )
    app = Application(config).open()
    try:
        assert make(ApiClient(app, key), url="http://127.0.0.1:9/")["url"] == "http://127.0.0.1:9/"
        assert ApiClient(app, key).post("/api/webhooks", {"url": "http://10.0.0.1/"}).status == 422
    finally:
        assert app.close(10) == []
