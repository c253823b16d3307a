"""Who may do what, and the paths that need no key."""

from __future__ import annotations

import pytest

from service.app import Application
from service.concurrency.context import background
from service.database import open_keys
from tests.client import ApiClient
from tests.conftest import make_key
from tests.serving import wait_until

WRONG_HEADERS = [
    "", "Bearer", "Bearer ", "Basic dTpw", "ldg_0123456789ab_" + "0" * 64, "Bearer ldg_", "Bearer ldg_x_y",
    "Bearer ldg_0123456789ab_" + "0" * 64, "Bearer ldg_0123456789ab_" + "0" * 63, "Bearer ldg_0123456789AB_" + "0" * 64,
]


@pytest.mark.parametrize("path", ["/api/users", "/api/users/1", "/api/nothing", "//api/users"])
@pytest.mark.parametrize("header", WRONG_HEADERS)
def test_no_path_but_the_probes_opens_without_a_key(application: Application, path: str, header: str) -> None:
    """401 with a challenge, whether the path exists or not."""
    reply = ApiClient(application, None).get(path, **({"Authorization": header} if header else {}))
    assert (reply.status, reply.code) == (401, "unauthenticated")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_secret_that_differs_in_one_letter_is_refused(application: Application, key: str) -> None:
    """The id alone opens nothing."""
    last = "0" if key[-1] != "0" else "1"
    assert ApiClient(application, key[:-1] + last).get("/api/users").status == 401


def test_a_revoked_key_stops_working(application: Application, database_url: str, key: str) -> None:
    """Within the second that keys are kept."""
    client = ApiClient(application, key)
    assert client.get("/api/users").status == 200
    with open_keys(database_url) as keys:
        keys.revoke(background(), key.split("_")[1])
    wait_until(lambda: client.get("/api/users").status == 401, 10)


@pytest.mark.parametrize(
    ("scope", "reads", "writes"), [("read", True, False), ("write", True, True), ("admin", True, True)]
)
def test_scopes(application: Application, database_url: str, ledger: str, scope: str, reads: bool, writes: bool) -> None:
    """Each scope includes those before it; 403 names the one that is missing."""
    client = ApiClient(application, make_key(database_url, ledger, scope))
    assert (client.get("/api/users").status == 200) is reads
    reply = client.post("/api/users", {"name": "Ada", "email": "ada@example.com"})
    assert (reply.status == 201) is writes
    if not writes:
        assert (reply.status, reply.code) == (403, "forbidden")
        assert "'users:write'" in reply.json["detail"]
        for other in (
            client.call("PUT", "/api/users/1", {}), client.call("DELETE", "/api/users/1"), client.post("/api/accounts", {}),
            client.call("PATCH", "/api/accounts/1", {}), client.post("/api/transfers", {}),
        ):
            assert other.code == "forbidden"


def test_probes_need_no_key(application: Application) -> None:
    """/healthz and /readyz answer anyone; /readyz says no once the process is to stop."""
    client = ApiClient(application, None)
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ready"}
    application.drain()
    assert client.get("/readyz").code == "unavailable"
    assert client.get("/healthz").status == 200


def test_a_missing_path_and_a_wrong_method(api: ApiClient) -> None:
    """404 and 405 as problem+json, with the methods that there are."""
    assert api.get("/api/nothing").code == "not_found"
    wrong = api.call("DELETE", "/api/transfers")
    assert (wrong.status, wrong.code) == (405, "method_not_allowed")
    assert "POST" in wrong.headers["Allow"]


def test_every_answer_has_a_request_id(api: ApiClient) -> None:
    """The client's when it is sane, else a new one; an error tells it too."""
    assert api.get("/api/users", X_Request_ID="abc-1").headers["X-Request-ID"] == "abc-1"
    made = api.get("/api/nothing", X_Request_ID="bad id\x7f")
    assert made.headers["X-Request-ID"] == made.json["request_id"] != "bad id\x7f"


def test_a_position_is_looked_at_after_path_method_and_scope(application: Application, database_url: str, ledger: str) -> None:
    """And by reads alone: a write passes it over, as does a path that is open to everybody."""
    admin, narrow = (ApiClient(application, make_key(database_url, ledger, scope)) for scope in ("admin", "accounts:read"))
    path = f"/api/users/{admin.user()['id']}"
    wrong = {"Ledger_Position": "none of ours"}
    for client, method, asked, status in (
        (admin, "GET", "/api/nothing", 404), (admin, "POST", path, 405), (narrow, "GET", path, 403),
        (narrow, "POST", "/api/transfers", 403), (admin, "GET", path, 422), (admin, "HEAD", path, 422),
        (admin, "GET", "/api/users", 422), (admin, "DELETE", path, 204), (admin, "GET", "/healthz", 200),
    ):
        assert client.call(method, asked, **wrong).status == status, (method, asked)
    assert admin.post("/api/accounts", {"asset": "USD/2"}, **wrong).status == 201
    source, target = admin.account(min_balance=None)["id"], admin.account()["id"]
    assert admin.transfer(source, target, 1).status == 201
    body = {"from_account_id": source, "to_account_id": target, "amount": 1}
    assert admin.post("/api/transfers", body, **wrong).status == 201
