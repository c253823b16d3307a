"""API keys over HTTP: made, shown, rotated and revoked, and never more than the one who makes them holds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from service.api.answers import KeyAnswer, NewKeyAnswer
from service.app import Application
from service.config import Config
from service.ledger.kept import FRESH_S
from tests.api.conftest import new_ledger
from tests.client import ApiClient, Reply
from tests.conftest import make_key, opened
from tests.serving import wait_until


def client_of(application: Application, made: Reply) -> ApiClient:
    """A client with the key that was just made."""
    assert made.status == 201, made.body
    return ApiClient(application, made.json["key"])


def moment(text: str) -> datetime:
    """A time out of an answer."""
    return datetime.fromisoformat(text)


def lifetime_s(made: Reply) -> int:
    """How long a key lives, to the second."""
    return round((moment(made.json["expires_at"]) - moment(made.json["created_at"])).total_seconds())


def test_a_key_is_made_and_shown_once(application: Application, api: ApiClient) -> None:
    """201 with its secret and its path; from there it is the same without the secret. Nothing may store the answer."""
    body = {"name": "till", "scopes": ["write"], "expires_in_s": 3600, "rate_per_s": 20, "burst": 40}
    made = api.post("/api/keys", body)
    assert made.status == 201
    assert NewKeyAnswer().validate(made.json) == {}
    assert made.headers["Cache-Control"] == "no-store"
    shown = api.get(made.headers["Location"])
    assert KeyAnswer().validate(shown.json) == {}
    assert shown.json == {name: value for name, value in made.json.items() if name != "key"}
    assert lifetime_s(made) == 3600
    secret = made.json["key"].split("_")[2]
    assert secret not in (api.get("/api/keys").body + shown.body).decode()
    assert client_of(application, made).get("/api/users").status == 200


def test_keys_are_listed_in_pages_in_the_order_of_making(api: ApiClient) -> None:
    """Those of the own ledger, the revoked ones too."""
    made = [api.post("/api/keys", {"scopes": ["read"], "name": str(number)}).json for number in range(4)]
    api.call("DELETE", f"/api/keys/{made[0]['id']}")
    names = [key["name"] for key in api.whole_list("/api/keys", 2)]
    assert names == ["", "0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("body", "blamed"),
    [
        ({}, "scopes"), ({"scopes": []}, "scopes"), ({"scopes": "read"}, "scopes"), ({"scopes": ["read", "all"]}, "scopes[1]"),
        ({"scopes": ["read", "read"]}, "scopes"), ({"scopes": ["ledgers:read"]}, "scopes[0]"),
        ({"scopes": ["read"], "expires_in_s": 0}, "expires_in_s"), ({"scopes": ["read"], "expires_in_s": 1.5}, "expires_in_s"),
        ({"scopes": ["read"], "expires_in_s": 10**9}, "expires_in_s"),
        ({"scopes": ["read"], "expires_at": "soon"}, "expires_at"),
        ({"scopes": ["read"], "expires_at": "2026-02-30T00:00:00Z"}, "expires_at"),
        ({"scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"scopes": ["read"], "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"scopes": ["read"], "expires_at": "2030-01-01T00:00:00Z", "expires_in_s": 5}, "expires_in_s"),
        ({"scopes": ["read"], "debit_accounts": []}, "debit_accounts"),
        ({"scopes": ["read"], "debit_accounts": [1, 1]}, "debit_accounts"),
        ({"scopes": ["read"], "debit_accounts": [0]}, "debit_accounts[0]"),
        ({"scopes": ["read"], "debit_accounts": list(range(1, 102))}, "debit_accounts"),
        ({"scopes": ["read"], "rate_per_s": 0}, "rate_per_s"), ({"scopes": ["read"], "burst": -1}, "burst"),
        ({"scopes": ["read"], "name": "a\x00"}, "name"), ({"scopes": ["read"], "secret": "x"}, "secret"),
    ],
)
def test_a_wrong_field_is_named(api: ApiClient, body: dict[str, Any], blamed: str) -> None:
    """422, and no key is made."""
    reply = api.post("/api/keys", body)
    assert (reply.status, reply.fields) == (422, [blamed])
    assert len(api.get("/api/keys").json["data"]) == 1


def test_an_account_that_there_is_not_is_named(api: ApiClient) -> None:
    """404: a slip of the pen would make a key that may do nothing, or something later."""
    reply = api.post("/api/keys", {"scopes": ["write"], "debit_accounts": [api.account()["id"], 999]})
    assert (reply.status, reply.fields) == (404, ["debit_accounts"])
    assert "999" in reply.json["detail"]


OWN = "the ledger of the test"
ESCALATIONS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "more scopes": ({"scopes": ["keys:write", "users:read"]}, {"scopes": ["users:write"]}, "scopes"),
    "a bundle with more in it": ({"scopes": ["keys:write", "users:read"]}, {"scopes": ["read"]}, "scopes"),
    "operator": ({"scopes": ["admin"]}, {"scopes": ["operator"]}, "scopes"),
    "no end": ({"scopes": ["admin"], "expires_in_s": 600}, {"scopes": ["read"]}, "expires_at"),
    "a later end": ({"scopes": ["admin"], "expires_in_s": 600}, {"scopes": ["read"], "expires_in_s": 6000}, "expires_at"),
    "a greater rate": (
        {"scopes": ["admin"], "rate_per_s": 5}, {"scopes": ["read"], "rate_per_s": 6, "burst": 5}, "rate_per_s"
    ),
    "the server's rate": ({"scopes": ["admin"], "rate_per_s": 5}, {"scopes": ["read"]}, "rate_per_s burst"),
    "a greater burst": ({"scopes": ["admin"], "burst": 5}, {"scopes": ["read"], "burst": 6}, "burst"),
    "another ledger": ({"scopes": ["admin"]}, {"scopes": ["read"], "ledger": "shop"}, "ledger"),
    "the own ledger by name": ({"scopes": ["admin"]}, {"scopes": ["read"], "ledger": OWN}, "ledger"),
}


@pytest.mark.parametrize(("held", "wanted", "blamed"), ESCALATIONS.values(), ids=ESCALATIONS)
def test_nobody_gives_what_he_does_not_hold(
    application: Application, api: ApiClient, ledger: str, held: dict[str, Any], wanted: dict[str, Any], blamed: str
) -> None:
    """403 that names the part, and no key is made."""
    wanted = {name: ledger if value is OWN else value for name, value in wanted.items()}
    giver = client_of(application, api.post("/api/keys", held))
    reply = giver.post("/api/keys", wanted)
    assert (reply.status, reply.code, reply.fields) == (403, "forbidden", blamed.split())
    assert len(api.get("/api/keys").json["data"]) == 2


def test_the_accounts_to_debit_cannot_be_widened(application: Application, api: ApiClient) -> None:
    """Neither by naming others nor by naming none."""
    first, second = api.account()["id"], api.account()["id"]
    giver = client_of(application, api.post("/api/keys", {"scopes": ["admin"], "debit_accounts": [first]}))
    for wanted in ({}, {"debit_accounts": [second]}, {"debit_accounts": [first, second]}, {"debit_accounts": None}):
        assert giver.post("/api/keys", {"scopes": ["write"], **wanted}).fields == ["debit_accounts"]
    assert giver.post("/api/keys", {"scopes": ["write"], "debit_accounts": [first]}).status == 201


@pytest.mark.parametrize("scopes", [["write"], ["keys:read"], ["read", "keys:read"]])
def test_making_and_revoking_takes_keys_write(application: Application, api: ApiClient, scopes: list[str]) -> None:
    """403 for whoever lacks it."""
    other = client_of(application, api.post("/api/keys", {"scopes": scopes}))
    some = api.get("/api/keys").json["data"][0]["id"]
    for reply in (
        other.post("/api/keys", {"scopes": ["read"]}), other.call("DELETE", f"/api/keys/{some}"),
        other.post(f"/api/keys/{some}/rotate", {}),
    ):
        assert reply.code == "forbidden"
    assert (other.get("/api/keys").status == 200) is ("keys:read" in scopes)


def test_keys_of_another_ledger_are_not_found(application: Application, api: ApiClient, database_url: str) -> None:
    """Neither seen nor changed, and as if there were none."""
    other = make_key(database_url, "shop")
    key_id = other.split("_")[1]
    for reply in (
        api.get(f"/api/keys/{key_id}"), api.call("DELETE", f"/api/keys/{key_id}"), api.post(f"/api/keys/{key_id}/rotate", {}),
        api.get("/api/keys/0123456789ab"), api.get("/api/keys/no-such-id"), api.get("/api/keys/%00"), api.get("/api/keys/é"),
    ):
        assert (reply.status, reply.code) == (404, "not_found")
    assert api.get("/api/keys?ledger=shop").code == "forbidden"
    assert ApiClient(application, other).get("/api/users").status == 200


def test_an_operator_has_the_keys_of_every_ledger(application: Application, database_url: str) -> None:
    """It makes the first admin of a ledger, lists, and revokes; an unknown ledger is 404."""
    operator = ApiClient(application, make_key(database_url, "main", "operator"))
    name = new_ledger()
    operator.post("/api/ledgers", {"name": name})
    made = operator.post("/api/keys", {"scopes": ["admin"], "ledger": name})
    assert made.json["ledger"] == name
    shop = client_of(application, made)
    assert shop.get("/api/users").status == 200
    assert [key["id"] for key in operator.get(f"/api/keys?ledger={name}").json["data"]] == [made.json["id"]]
    assert operator.get(made.headers["Location"]).status == 200
    for reply in (operator.get("/api/keys?ledger=none"), operator.post("/api/keys", {"scopes": ["read"], "ledger": "none"})):
        assert (reply.status, reply.fields) == (404, ["ledger"])
    assert operator.call("DELETE", made.headers["Location"]).status == 204
    wait_until(lambda: shop.get("/api/users").status == 401, 10)


def test_a_revoked_key_is_refused_and_stays_so(application: Application, api: ApiClient) -> None:
    """204 each time; it may be the key that asks."""
    made = api.post("/api/keys", {"scopes": ["admin"]})
    other = client_of(application, made)
    assert other.get("/api/users").status == 200
    assert other.call("DELETE", made.headers["Location"]).status == 204
    wait_until(lambda: other.get("/api/users").status == 401, 10)
    first = api.get(made.headers["Location"]).json["revoked_at"]
    assert api.call("DELETE", made.headers["Location"]).status == 204
    assert api.get(made.headers["Location"]).json["revoked_at"] == first


def test_a_key_ends_on_time(application: Application, api: ApiClient) -> None:
    """Though it is kept and nothing is told of it."""
    made = api.post("/api/keys", {"scopes": ["read"], "expires_in_s": 2})
    other = client_of(application, made)
    assert other.get("/api/users").status == 200
    wait_until(lambda: other.get("/api/users").status == 401, 10)
    assert datetime.now(UTC) >= moment(made.json["expires_at"]) - timedelta(seconds=0.5)


def test_rotation_lets_two_keys_be_valid(application: Application, api: ApiClient) -> None:
    """The new one is given the same; the old one names it and ends after the overlap."""
    account = api.account()["id"]
    limits = {"debit_accounts": [account], "rate_per_s": 3, "burst": 9, "expires_in_s": 9000}
    body = {"name": "till", "scopes": ["write"], **limits}
    old = api.post("/api/keys", body)
    new = api.post(f"{old.headers['Location']}/rotate", {"overlap_s": 2})
    assert new.headers["Cache-Control"] == "no-store"
    assert NewKeyAnswer().validate(new.json) == {}
    for name in ("ledger", "name", "scopes", "debit_accounts", "rate_per_s", "burst"):
        assert new.json[name] == old.json[name]
    assert lifetime_s(new) == 9000
    before, after = client_of(application, old), client_of(application, new)
    assert before.get("/api/users").status == after.get("/api/users").status == 200
    assert api.get(old.headers["Location"]).json["replaced_by"] == new.json["id"]
    wait_until(lambda: before.get("/api/users").status == 401, 10)
    assert after.get("/api/users").status == 200


def test_rotation_without_an_overlap_ends_the_old_key_at_once(application: Application, api: ApiClient) -> None:
    """Within the second in which every worker hears of it; by default it goes on for a day."""
    old = api.post("/api/keys", {"scopes": ["read"]})
    api.post(f"{old.headers['Location']}/rotate", {"overlap_s": 0})
    wait_until(lambda: client_of(application, old).get("/api/users").status == 401, 10)
    other = api.post("/api/keys", {"scopes": ["read"]})
    api.post(f"{other.headers['Location']}/rotate", {})
    left = moment(api.get(other.headers["Location"]).json["expires_at"]) - moment(other.json["created_at"])
    assert timedelta(hours=24) <= left < timedelta(hours=25)


def test_what_cannot_be_rotated_says_why(api: ApiClient) -> None:
    """409 after a revocation, or a second time, with the id of the key that follows; 422 for an overlap out of bounds."""
    key = api.post("/api/keys", {"scopes": ["read"]})
    where = f"{key.headers['Location']}/rotate"
    for overlap_s in (-1, 30 * 86_400 + 1, "1h", 0.5):
        assert api.post(where, {"overlap_s": overlap_s}).fields == ["overlap_s"]
    new = api.post(where, {})
    again = api.post(where, {})
    assert (again.status, again.code) == (409, "conflict")
    assert new.json["id"] in again.json["detail"]
    api.call("DELETE", new.headers["Location"])
    assert api.post(f"{new.headers['Location']}/rotate", {}).code == "conflict"


def test_rotation_is_no_way_to_more(application: Application, api: ApiClient) -> None:
    """A key that makes keys cannot turn an admin key into one that it knows, and one that ends cannot live on."""
    admin = api.post("/api/keys", {"scopes": ["admin"]})
    maker = client_of(application, api.post("/api/keys", {"scopes": ["keys:write"]}))
    reply = maker.post(f"{admin.headers['Location']}/rotate", {"overlap_s": 0})
    assert (reply.code, reply.fields) == ("forbidden", ["scopes"])
    ending = api.post("/api/keys", {"scopes": ["admin"], "expires_in_s": 60})
    reply = client_of(application, ending).post(f"{ending.headers['Location']}/rotate", {})
    assert (reply.code, reply.fields) == ("forbidden", ["expires_at"])
    assert client_of(application, admin).get("/api/users").status == 200


def test_a_restricted_key_debits_its_accounts_alone(application: Application, api: ApiClient) -> None:
    """403 that names the account, before anything is posted, and for a replay too; it may credit and read any."""
    mine, other = api.account(min_balance=None)["id"], api.account(min_balance=None)["id"]
    till = client_of(application, api.post("/api/keys", {"scopes": ["write"], "debit_accounts": [mine]}))
    assert till.transfer(mine, other, 5).status == 201
    refused = till.transfer(other, mine, 5)
    assert (refused.status, refused.code, refused.fields) == (403, "forbidden", ["from_account_id"])
    body = {"from_account_id": other, "to_account_id": mine, "amount": 7}
    assert api.post("/api/transfers", body, Idempotency_Key="k").status == 201
    assert till.post("/api/transfers", body, Idempotency_Key="k").code == "forbidden"
    assert api.post("/api/transfers", body, Idempotency_Key="k").status == 200
    assert till.get(f"/api/accounts/{other}").json["balance"] == -2


def test_the_last_use_is_written_at_the_latest_at_the_end(config: Config, database_url: str, key: str) -> None:
    """No request waits for it; the database has it when the application has closed."""
    key_id = key.split("_")[1]
    for application in opened(config):
        api = ApiClient(application, key)
        assert api.get("/api/users").status == 200
        assert api.get(f"/api/keys/{key_id}").json["last_used_at"] is None
    age = "SELECT extract(epoch FROM now() - last_used_at)::float8 FROM api_keys WHERE id = %s"
    with psycopg.connect(database_url) as conn:
        (age_s,) = conn.execute(age, (key_id,)).fetchone() or (None,)
    assert age_s is not None
    assert -1 < age_s < 60


REFUSED = ["malformed", "truncated", "forged", "wrong secret", "expired", "revoked"]


def test_all_refusals_have_one_body(application: Application, api: ApiClient) -> None:
    """Byte for byte the same, but for the request's id: nobody learns which keys there are."""
    good, ended, revoked = (api.post("/api/keys", {"scopes": ["read"], **more}) for more in ({}, {"expires_in_s": 1}, {}))
    api.call("DELETE", revoked.headers["Location"])
    token = good.json["key"]
    wait_until(lambda: ApiClient(application, ended.json["key"]).get("/api/users").status == 401, 10)
    wait_until(lambda: ApiClient(application, revoked.json["key"]).get("/api/users").status == 401, 10)
    assert ApiClient(application, token).get("/api/users").status == 200
    tokens = dict(zip(REFUSED, [
        "nonsense", token[:-1], "ldg_" + "0" * 12 + "_" + "1" * 64, token[:-64] + "0" * 64,
        ended.json["key"], revoked.json["key"],
    ], strict=True))
    replies = {kind: ApiClient(application, text).get("/api/users", X_Request_ID="r") for kind, text in tokens.items()}
    assert {reply.status for reply in replies.values()} == {401}
    assert len({reply.body for reply in replies.values()}) == 1
    headers = ({name: value for name, value in reply.headers.items() if name != "traceparent"} for reply in replies.values())
    assert len({tuple(sorted(kept.items())) for kept in headers}) == 1


def test_a_refusal_takes_a_lookup_and_an_accepted_key_none(config: Config, key: str) -> None:
    """For longer than a second, while notifications arrive."""
    for application in opened(config):
        _look_up_refused_keys_alone(application, ApiClient(application, key))


def _look_up_refused_keys_alone(application: Application, api: ApiClient) -> None:
    api.get("/api/users")
    wait_until(lambda: application.database.listener.proved_within(0.5), 10)
    lookups: list[str] = []
    find = application.resources.key_repository.find_credentials
    application.resources.key_repository.find_credentials = (  # type: ignore[method-assign]
        lambda ctx, key_id: (lookups.append(key_id), find(ctx, key_id))[1]
    )
    for _ in range(20):  # a beat may be late on a busy machine
        api.get("/api/users")
        lookups.clear()
        end, proved = time.monotonic() + 1.5, True
        while time.monotonic() < end:
            assert api.get("/api/users").status == 200
            proved = proved and application.database.listener.proved_within(FRESH_S / 2)
        if proved:
            break
    assert proved
    assert lookups == []
    for token in ("nonsense", "ldg_" + "0" * 12 + "_" + "1" * 64, (api.key or "")[:-64] + "0" * 64):
        lookups.clear()
        assert ApiClient(application, token).get("/api/users").status == 401
        assert len(lookups) == 1
