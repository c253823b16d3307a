"""Keys, scopes, limits, ids and deadlines: what every call passes."""

from __future__ import annotations

import json
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import psycopg
import pytest

from service.app import Application
from service.commands.grpc import make_server
from service.concurrency.context import background
from service.config import Config
from service.database import open_keys
from service.ledger.grants import Grant
from service.telemetry.output import standard_error
from tests.client import ApiClient
from tests.conftest import make_key
from tests.rpc.client import RpcClient
from tests.serving import wait_until

UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer nonsense", "Basic abc", "Bearer ldg_" + "0" * 12 + "_" + "0" * 64]
)
def test_without_a_valid_key_nothing_is_answered(rpc_server: tuple[Any, int], authorization: str | None) -> None:
    """None, an empty one, another scheme, one that nobody has."""
    with RpcClient(rpc_server[1], None) as client:
        metadata = {} if authorization is None else {"authorization": authorization}
        reply = client.user("ListUsers", **metadata)
    assert (reply.status, reply.code, reply.reason) == (UNAUTHENTICATED, "unauthenticated", "UNAUTHENTICATED")
    assert reply.metadata["x-request-id"]


def test_a_key_needs_the_scope(rpc_server: tuple[Any, int], database_url: str) -> None:
    """Of the route that the method is the translation of."""
    with RpcClient(rpc_server[1], make_key(database_url, "main", "users:read")) as reader:
        assert reader.user("ListUsers").status is grpc.StatusCode.OK
        refused = reader.user("CreateUser", {"name": "A", "email": "a@example.com"})
    assert (refused.status, refused.code) == (grpc.StatusCode.PERMISSION_DENIED, "forbidden")


def test_a_revoked_key_is_refused_within_a_second(rpc: RpcClient, rpc_server: tuple[Any, int], api: ApiClient) -> None:
    """As over HTTP."""
    made = api.post("/api/keys", {"scopes": ["read"]}).json
    with RpcClient(rpc_server[1], made["key"]) as client:
        assert client.user("ListUsers").status is grpc.StatusCode.OK
        assert api.call("DELETE", f"/api/keys/{made['id']}").status in (200, 204)
        wait_until(lambda: client.user("ListUsers").status is UNAUTHENTICATED, 5)


def test_a_key_has_one_limit_over_both(rpc_server: tuple[Any, int], application: Application, database_url: str) -> None:
    """Its bucket is the same for gRPC and for HTTP; what is left of it is told after every call."""
    with open_keys(database_url) as keys:
        key = keys.create(background(), Grant(scopes=("read",), rate_per_s=1, burst=3), ledger="main").token
    http = ApiClient(application, key)
    with RpcClient(rpc_server[1], key) as client:
        first = client.user("ListUsers")
        assert first.metadata["ratelimit-policy"] == '"key";q=3;w=3'
        assert http.get("/api/users").status == 200
        replies = [client.user("ListUsers") for _ in range(4)]
    refused = replies[-1]
    assert (refused.status, refused.code) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "rate_limited")
    assert refused.retry_after_s == int(refused.metadata["retry-after"]) >= 1


def test_the_request_id_and_the_trace_are_the_clients(rpc: RpcClient) -> None:
    """Where they are sane; any other value is passed over."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    mine = rpc.user("GetUser", {"id": 99}, x_request_id="mine-1", traceparent=parent)
    assert mine.metadata["x-request-id"] == "mine-1"
    assert mine.metadata["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert re.fullmatch("[0-9a-f]{24}", rpc.user("GetUser", {"id": 99}, x_request_id="no good").metadata["x-request-id"])


def test_each_call_is_a_line_of_the_log(
    config: Config, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the method as its path and route, and HTTP's status for its code."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(standard_error(), "write", lambda data: lines.extend(map(json.loads, data.splitlines())))
    application = Application(replace(config, log_level="info")).open()
    server = make_server(application, replace(config, grpc_bind="127.0.0.1:0"))
    try:
        with RpcClient(server.start(), key) as client:
            client.user("ListUsers", x_request_id="one")
            client.user("GetUser", {"id": 7}, x_request_id="two")
    finally:
        assert server.stop(10)
        application.close(10)
    found = {line.get("request_id"): line for line in lines}
    path = "/ledgerd.v1.UserService/"
    assert (found["one"]["route"], found["one"]["status"]) == (path + "ListUsers", 200)
    assert (found["two"]["path"], found["two"]["status"], found["two"]["remote"]) == (path + "GetUser", 404, "127.0.0.1")
    assert found["two"]["key_id"]
    assert key not in json.dumps(lines)


def test_a_call_ends_at_its_deadline(rpc: RpcClient, application: Application, database_url: str) -> None:
    """Also what it waits for at the database: the connection is soon free again."""
    number = rpc.user("CreateUser", {"name": "A", "email": "a@example.com"}).message.id
    with psycopg.connect(database_url) as blocker:
        blocker.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (number,))
        reply = rpc.user("UpdateUser", {"id": number, "name": "B", "email": "b@example.com"}, timeout_s=0.5)
        assert reply.status is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_until(lambda: "UPDATE" not in running(database_url), 5)
    assert rpc.user("GetUser", {"id": number}).message.name == "A"


def test_a_call_that_is_cancelled_ends_its_work(rpc: RpcClient, database_url: str) -> None:
    """The statement at the server too, long before the call's time is up."""
    number = rpc.user("CreateUser", {"name": "A", "email": "a@example.com"}).message.id
    with psycopg.connect(database_url) as blocker:
        blocker.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (number,))
        from service.rpc.v1 import users_pb2

        method = rpc.channel.unary_unary("/ledgerd.v1.UserService/UpdateUser")
        message = users_pb2.UpdateUserRequest(id=number, name="B", email="b@example.com").SerializeToString()
        call = method.future(message, metadata=rpc.metadata())
        wait_until(lambda: "UPDATE" in running(database_url), 5)
        call.cancel()
        wait_until(lambda: "UPDATE" not in running(database_url), 5)
    assert rpc.user("GetUser", {"id": number}).message.name == "A"


def running(database_url: str) -> str:
    """The statements that run at the server."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        rows = conn.execute(
            "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
            " AND pid <> pg_backend_pid()"
        ).fetchall()
    return "\n".join(row[0] for row in rows)


def test_the_servers_longest_holds_where_the_client_asks_for_more(
    application: Application, config: Config, key: str, database_url: str
) -> None:
    """And where it asks for none at all."""
    server = make_server(application, replace(config, grpc_bind="127.0.0.1:0", timeout_s=0.5))
    try:
        with RpcClient(server.start(), key) as client, psycopg.connect(database_url) as blocker:
            number = client.user("CreateUser", {"name": "A", "email": "a@example.com"}).message.id
            blocker.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (number,))
            for asked_s in (None, 3600.0):
                reply = client.user("DeleteUser", {"id": number}, timeout_s=asked_s)
                assert (reply.status, reply.code) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline_exceeded")
            for malformed in ("soon", "-1S", "5", "99999999999H"):  # what grpc cannot read is none
                reply = client.user("DeleteUser", {"id": number}, timeout_s=None, grpc_timeout=malformed)
                assert (reply.status, reply.code) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline_exceeded")
    finally:
        assert server.stop(10)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, 1e-9])
def test_a_deadline_that_has_passed_does_nothing(rpc: RpcClient, timeout_s: float) -> None:
    """The call fails, and nothing is made."""
    reply = rpc.user("CreateUser", {"name": "A", "email": "a@example.com"}, timeout_s=timeout_s)
    assert reply.status is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not rpc.user("ListUsers").message.users


def test_a_fault_of_ours_tells_nothing_but_its_id(
    rpc: RpcClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the rest, and the server goes on."""
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr("service.rpc.method.to_values", lambda _message: 1 / 0)
        reply = rpc.user("ListUsers", x_request_id="broken")
    assert (reply.status, reply.code) == (grpc.StatusCode.INTERNAL, "internal")
    assert "division" not in reply.details
    assert any(getattr(record, "fields", {}).get("request_id") == "broken" for record in caplog.records)
    assert rpc.user("ListUsers").status is grpc.StatusCode.OK


def test_an_unknown_method_is_unimplemented(rpc: RpcClient) -> None:
    """So is one of a service that there is not."""
    for path in ("/ledgerd.v1.UserService/Nothing", "/ledgerd.v2.UserService/GetUser", "/"):
        assert rpc.raw(path, b"").status is grpc.StatusCode.UNIMPLEMENTED


def test_metadata_beyond_all_bounds_is_refused(rpc: RpcClient) -> None:
    """By grpc itself; and the server goes on."""
    assert rpc.user("ListUsers", x_request_id="x" * 20_000).status is grpc.StatusCode.RESOURCE_EXHAUSTED
    many = {f"k{number}": "v" * 100 for number in range(200)}
    assert rpc.user("ListUsers", **many).status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc.user("ListUsers").status is grpc.StatusCode.OK


def test_metadata_that_is_given_twice_is_joined(rpc: RpcClient) -> None:
    """As HTTP does it: two keys are not one of them."""
    method = rpc.channel.unary_unary("/ledgerd.v1.UserService/ListUsers")
    with pytest.raises(grpc.RpcError) as raised:
        method(b"", metadata=[*rpc.metadata(), *rpc.metadata()], timeout=10)
    assert raised.value.code() is UNAUTHENTICATED


def test_the_process_is_not_patched() -> None:
    """Neither gevent nor gunicorn is loaded by what `ledgerd grpc` runs."""
    check = "import sys, service.commands.grpc; sys.exit(any(name in sys.modules for name in ('gevent', 'gunicorn')))"
    assert subprocess.run([sys.executable, "-c", check], check=False, timeout=60).returncode == 0


@pytest.mark.slow
def test_a_silent_connection_is_closed(rpc_server: tuple[Any, int], rpc: RpcClient) -> None:
    """One that never says that it speaks HTTP/2; the others are served meanwhile."""
    with socket.create_connection(("127.0.0.1", rpc_server[1]), 30) as silent:
        assert rpc.user("ListUsers").status is grpc.StatusCode.OK
        while silent.recv(4096):  # the server's settings, then the end
            pass


def slow_messages(stop: Any) -> Iterator[bytes]:
    """A client that opens a call and sends nothing."""
    stop.wait(30)
    yield from ()


def test_calls_that_send_nothing_hold_no_thread_for_long(
    application: Application, config: Config, key: str
) -> None:
    """Without a key they are refused at once; with one they are over when the longest time is."""
    from threading import Event

    stop = Event()
    server = make_server(application, replace(config, grpc_bind="127.0.0.1:0", grpc_threads=2, grpc_streams=1, timeout_s=1.0))
    try:
        with RpcClient(server.start(), key) as client:
            method = client.channel.stream_unary("/ledgerd.v1.UserService/ListUsers")
            for _ in range(3):  # as many as there are threads
                with pytest.raises(grpc.RpcError) as raised:
                    method(slow_messages(stop), timeout=20)
                assert raised.value.code() is UNAUTHENTICATED
            held = [method.future(slow_messages(stop), metadata=client.metadata()) for _ in range(3)]
            assert client.user("ListUsers", timeout_s=20).status is grpc.StatusCode.OK
            assert {call.code() for call in held} == {grpc.StatusCode.CANCELLED}
    finally:
        stop.set()
        assert server.stop(10)

