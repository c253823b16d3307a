"""A failure inside tells a client its request id and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import psycopg
import pytest

from service.api import users
from service.server.refusal import classify
from tests.attacks.conftest import KEY, Target, assert_tells_nothing
from tests.client import ApiClient, Reply
from tests.loop.exchange import exchange

USUAL = {
    "server", "date", "connection", "content-type", "content-length", "x-request-id", "ratelimit", "ratelimit-policy",
    "traceparent",
}  # fmt: skip


def assert_internal(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    """500 with six members, and the log has the traceback under the same id."""
    assert (reply.status, reply.code) == (500, "internal")
    assert set(reply.json) == {"type", "title", "status", "detail", "code", "request_id"}
    assert_tells_nothing(reply.headers, reply.body)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.fields["request_id"] == reply.json["request_id"] == reply.headers["X-Request-ID"]


def test_a_fault_in_a_handler_tells_nothing(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever its message holds."""
    user = api.user()

    def broken(_user: object) -> object:
        raise RuntimeError("psycopg at /srv/ledger/app.py: SELECT secret FROM relation, password hunter2")

    monkeypatch.setattr(users, "show_user", broken)
    reply = api.get(f"/api/users/{user['id']}")
    assert_internal(reply, caplog)
    assert b"hunter2" not in reply.body


@pytest.mark.parametrize(
    "breaking",
    [
        "DROP TABLE users CASCADE",
        "ALTER TABLE users DROP COLUMN metadata",
        "ALTER TABLE users RENAME COLUMN email TO mail",
        "CREATE FUNCTION oh() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'psycopg SELECT hunter2'; END$$;"
        " CREATE TRIGGER oh BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION oh()",
        "ALTER TABLE users ADD CONSTRAINT hunter2 CHECK (name <> 'Ada')",
        "ALTER TABLE users ADD COLUMN more int NOT NULL",
    ],
    ids=["no table", "no column", "another column", "a trigger", "a constraint", "one more column"],
)
def test_a_fault_of_the_database_tells_nothing(
    api: ApiClient, database_url: str, caplog: pytest.LogCaptureFixture, breaking: str
) -> None:
    """No statement, name of a table or message of PostgreSQL."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute(breaking)
    reply = api.post("/api/users", {"name": "Ada", "email": "ada@example.com"})
    assert_internal(reply, caplog)
    assert b"hunter2" not in reply.body
    assert b"users" not in reply.body


def test_a_fault_while_a_transfer_is_posted_tells_nothing(
    api: ApiClient, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The posting lane is another task; its fault reaches the one who waits, and the lane goes on."""
    first, second = api.account(min_balance=None)["id"], api.account()["id"]
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("ALTER FUNCTION post_transfers RENAME TO hidden")
        with caplog.at_level(logging.ERROR):
            reply = api.transfer(first, second, 5)
        assert reply.status >= 500
        assert_tells_nothing(reply.headers, reply.body)
        assert b"post_transfers" not in reply.body
        conn.execute("ALTER FUNCTION hidden RENAME TO post_transfers")
    assert api.transfer(first, second, 5).status == 201


@pytest.fixture
def without_accounts(target: Target) -> Iterator[None]:
    """The server's database lacks a table for a while."""
    with psycopg.connect(target.database_url, autocommit=True) as conn:
        conn.execute("ALTER TABLE accounts RENAME TO hidden")
        yield
        conn.execute("ALTER TABLE hidden RENAME TO accounts")


def test_a_fault_on_the_wire_tells_nothing(target: Target, without_accounts: None) -> None:
    """The whole answer as bytes: the server adds no version, and the connection goes on."""
    ask = b"GET /api/accounts HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + KEY + b"\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    failed, alive = target.send(ask + last)
    assert (failed.status, alive.status) == (500, 200)
    assert set(failed.fields) <= USUAL
    assert_tells_nothing(failed.fields, failed.body)


def test_a_fault_outside_of_the_application_tells_nothing() -> None:
    """What the request loop answers by itself, without the application's own recovery."""
    status, error = classify(ZeroDivisionError("hunter2 in app.py"))
    assert (status, error.code) == (500, "internal")
    assert "hunter2" not in error.message


def test_no_answer_tells_a_version(target: Target) -> None:
    """Not of the server, the language or the database, whatever is asked for."""
    for path in (b"/", b"/healthz", b"/readyz", b"/api/users", b"/api/nothing", b"/metrics"):
        for key in (b"", b"Authorization: Bearer " + KEY + b"\r\n"):
            request = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + key + b"\r\n"
            (reply,) = target.send(request)
            assert reply.fields["server"] == "gunicorn"
            assert not {"via", "x-powered-by", "x-runtime", "x-version"} & set(reply.fields)
            if reply.status != 200:
                assert_tells_nothing(reply.fields, reply.body)


def test_a_wrong_key_is_told_as_one_that_does_not_exist(target: Target) -> None:
    """Neither the answer nor its headers say whether the id is known."""
    known = target.key[:-1] + ("0" if target.key[-1] != "0" else "1")
    answers = []
    for key in (known, "ldg_0123456789ab_" + "0" * 64):
        head = f"GET /api/users HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\r\n"
        (reply,) = exchange(target.port, [head.encode()])
        answers.append((reply.status, set(reply.fields), reply.body.replace(reply.fields["x-request-id"].encode(), b"")))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401
