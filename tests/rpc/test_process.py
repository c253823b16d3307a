"""`ledgerd grpc` as a process: how it starts, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import grpc
import psycopg
import pytest

from service.config import Config
from service.errors import ConfigurationError
from service.rpc.v1 import users_pb2
from service.server.exit_status import ExitStatus
from service.server.supervisor import serve
from tests.rpc.client import RpcClient
from tests.rpc.serving import ServeGrpc
from tests.rpc.test_access import running
from tests.serving import Serve, children, descendants, free_port, ledgerd, wait_until

UPDATE = "/ledgerd.v1.UserService/UpdateUser"


def test_a_stop_lets_calls_finish(database_url: str, key: str, tmp_path: Path) -> None:
    """SIGTERM while calls wait at the database: health says so no more, new calls are refused, those end well, status 0."""
    with ServeGrpc(tmp_path, database_url) as server, psycopg.connect(database_url) as blocker:
        with RpcClient(server.wait_ready().port, key) as client:
            number = client.user("CreateUser", {"name": "A", "email": "a@example.com"}).message.id
            blocker.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (number,))
            message = users_pb2.UpdateUserRequest(id=number, name="B", email="b@example.com").SerializeToString()
            calls = [client.channel.unary_unary(UPDATE).future(message, metadata=client.metadata()) for _ in range(4)]
            wait_until(lambda: running(database_url).count("UPDATE") == 4, 10)
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not server.serves(), 10)
            blocker.commit()
            users = [users_pb2.User.FromString(call.result(timeout=20)) for call in calls]
        assert sorted(user.version for user in users) == [2, 3, 4, 5]
        assert server.process.wait(30) == 0
    assert "error" not in server.log.read_text()


def test_a_second_signal_stops_at_once(database_url: str, key: str, tmp_path: Path) -> None:
    """What is under way is cut off then, and the status says so. One that comes with the first is the first."""
    with (
        ServeGrpc(tmp_path, database_url) as server,
        psycopg.connect(database_url) as blocker,
        RpcClient(server.wait_ready().port, key) as client,
    ):
        number = client.user("CreateUser", {"name": "A", "email": "a@example.com"}).message.id
        blocker.execute("SELECT 1 FROM users WHERE id = %s FOR UPDATE", (number,))
        message = users_pb2.UpdateUserRequest(id=number, name="B", email="b@example.com").SerializeToString()
        call = client.channel.unary_unary(UPDATE).future(message, metadata=client.metadata())
        wait_until(lambda: "UPDATE" in running(database_url), 10)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in server.log.read_text(), 10)
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(2.5)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == ExitStatus.CUT
        with pytest.raises(grpc.RpcError):
            call.result(timeout=20)


def test_health_follows_the_database(test_server: object, database_url: str, tmp_path: Path) -> None:
    """A process without its database starts, says that it does not serve, and serves when there is one."""
    with psycopg.connect(test_server.url("postgres", "postgres"), autocommit=True) as conn:
        name = database_url.partition("?")[0].rpartition("/")[2]
        conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        with ServeGrpc(tmp_path, database_url) as server:
            wait_until(lambda: listens(server.port), 30)
            assert not server.serves()
            conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            server.wait_ready(30)
            assert server.stop() == 0


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_what_cannot_be_listened_on_is_told(database_url: str, tmp_path: Path) -> None:
    """A port that is taken, and a setting that is none."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = {"DATABASE_URL": database_url, "LEDGERD_DATA_DIR": str(tmp_path)}
        done = ledgerd("grpc", **settings, LEDGERD_GRPC_BIND=f"127.0.0.1:{taken.getsockname()[1]}")
        assert (done.returncode, "LEDGERD_GRPC_BIND" in done.stderr) == (1, True)
        done = ledgerd("grpc", **settings, LEDGERD_GRPC_BIND="8081")
        assert (done.returncode, "expected HOST:PORT" in done.stderr) == (1, True)


def test_its_metrics_and_its_place_in_the_registry(database_url: str, key: str, tmp_path: Path) -> None:
    """Calls are counted by method and status; the process is an instance of `ledgerd-grpc` until it stops."""
    probes = free_port()
    with ServeGrpc(tmp_path, database_url, LEDGERD_GRPC_METRICS_BIND=f"127.0.0.1:{probes}") as server:
        with RpcClient(server.wait_ready().port, key) as client:
            assert client.user("GetUser", {"id": 5}).code == "not_found"
            client.ledger("ListAccounts")
        with urllib.request.urlopen(f"http://127.0.0.1:{probes}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        counted = 'ledgerd_http_requests_total{method="POST",route="/ledgerd.v1.%s",status="%d"} 1.0'
        assert counted % ("UserService/GetUser", 404) in text
        assert counted % ("LedgerService/ListAccounts", 200) in text
        wait_until(lambda: registered(database_url) == [f"127.0.0.1:{server.port}"], 10)
        assert server.stop() == 0
    assert registered(database_url) == []


def registered(database_url: str) -> list[str]:
    """The addresses of gRPC in the registry."""
    with psycopg.connect(database_url) as conn:
        return [row[0] for row in conn.execute("SELECT address FROM service_instances WHERE service = 'ledgerd-grpc'")]


def test_serve_runs_it_beside_the_web_server(database_url: str, tmp_path: Path) -> None:
    """Where LEDGERD_GRPC_BIND says so; it is started again when it is killed, and ends with the rest."""
    port = free_port()
    settings = {"LEDGERD_WORKERS": "1", "LEDGERD_DB_MAX_OPEN": "5", "LEDGERD_GRPC_BIND": f"127.0.0.1:{port}"}
    with Serve(tmp_path, DATABASE_URL=database_url, **settings) as server:
        key = server.wait_ready().key()
        with RpcClient(port, key) as client:
            wait_until(lambda: client.user("ListUsers").status is grpc.StatusCode.OK, 30)
            (child,) = children(server.process.pid, "service\0grpc")
            os.kill(child, signal.SIGKILL)
            wait_until(lambda: children(server.process.pid, "service\0grpc") not in ([], [child]), 20)
            wait_until(lambda: client.user("ListUsers").status is grpc.StatusCode.OK, 30)
        assert server.stop() == 0
    assert descendants(server.process.pid) == []
    assert not listens(port)


def test_serve_refuses_to_do_without_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC is asked for, and the extra is not installed: nothing is started."""
    monkeypatch.setattr("service.server.supervisor.grpc_problems", lambda: ["gRPC is not installed"])
    with pytest.raises(ConfigurationError, match="gRPC is not installed"):
        serve(Config(database_url="postgresql://nowhere", grpc_bind="127.0.0.1:0"), {}, lambda _: None)
