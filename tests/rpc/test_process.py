"""`ledgerd grpc` as a process: how it starts, and how it ends."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import grpc
import psycopg
import pytest

from service.rpc.v1 import users_pb2
from tests.rpc.client import RpcClient
from tests.rpc.serving import ServeGrpc
from tests.rpc.test_access import running
from tests.serving import ledgerd, wait_until

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
    """What is under way is cut off then, and the status says so."""
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
        assert server.process.wait(15) == 1
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
