"""Health and reflection: open to everybody, and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from service.rpc.server import CHECK, WATCHERS, GrpcServer
from service.rpc.v1 import ledger_pb2, ledger_pb2_grpc
from tests.rpc.client import RpcClient, failed
from tests.serving import wait_until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
Server = tuple[GrpcServer, int]


def test_health_is_told_to_whoever_asks(rpc_server: Server) -> None:
    """Of the process, of each service, and not of one that there is not."""
    server, port = rpc_server
    with RpcClient(port, None) as client:
        stub = health_pb2_grpc.HealthStub(client.channel)
        for name in ("", "ledgerd.v1.UserService"):
            assert stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10).status == SERVING
        server.health.set(False)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == NOT_SERVING
        with pytest.raises(grpc.RpcError) as raised:
            stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=10)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_watcher_is_told_of_each_change(rpc_server: Server) -> None:
    """And the state at once."""
    server, port = rpc_server
    with RpcClient(port, None) as client:
        watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == SERVING
        server.health.set(False)
        assert next(watch).status == NOT_SERVING
        server.health.set(True)
        assert next(watch).status == SERVING
        watch.cancel()


def test_watchers_are_bounded_and_take_nothing_from_those_with_a_key(rpc_server: Server, rpc: RpcClient) -> None:
    """As many as there may be: one more is refused with a time to wait, calls and streams go on, and a place is free again."""
    stub = health_pb2_grpc.HealthStub(rpc.channel)
    watchers = [stub.Watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(WATCHERS)]
    for watcher in watchers:
        assert next(watcher).status == SERVING
    with pytest.raises(grpc.RpcError) as raised:
        next(stub.Watch(health_pb2.HealthCheckRequest(), timeout=60))
    refused = failed(raised.value)
    assert (refused.status, refused.code) == (grpc.StatusCode.UNAVAILABLE, "overloaded")
    assert refused.retry_after_s
    assert rpc.user("ListUsers").status is grpc.StatusCode.OK
    assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING
    events = ledger_pb2_grpc.LedgerServiceStub(rpc.channel).StreamEvents
    assert list(events(ledger_pb2.StreamEventsRequest(after=0, follow=False), metadata=rpc.metadata(), timeout=10)) == []
    watchers[0].cancel()

    def free_again() -> bool:
        watcher = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        try:
            return next(watcher).status == SERVING
        except grpc.RpcError:
            return False
        finally:
            watcher.cancel()

    wait_until(free_again, 10)


def test_whoever_has_no_key_and_sends_nothing_takes_no_thread_from_the_others(rpc_server: Server, rpc: RpcClient) -> None:
    """Hundreds of questions about health that never come: calls with a key are answered, and those are cut off soon."""
    stop = Event()

    def never() -> Iterator[bytes]:
        stop.wait(60)
        yield from ()

    check = rpc.channel.stream_unary(CHECK)
    try:
        held = [check.future(never(), timeout=60) for _ in range(100)]
        for _ in range(20):
            assert rpc.user("ListUsers", timeout_s=20).status is grpc.StatusCode.OK
        codes = {call.code() for call in held}
    finally:
        stop.set()
    assert codes <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_reflection_tells_what_there_is(rpc_server: Server) -> None:
    """Enough for a client that has no protos."""
    with RpcClient(rpc_server[1], None) as client:
        database = ProtoReflectionDescriptorDatabase(client.channel)
        assert {"ledgerd.v1.UserService", "grpc.health.v1.Health"} <= set(database.get_services())
        file = database.FindFileContainingSymbol("ledgerd.v1.UserService")
        assert [method.name for method in file.service[0].method][:2] == ["GetUser", "ListUsers"]
        client.channel.close()


def test_a_stop_ends_the_streams(rpc_server: Server) -> None:
    """A watcher learns that the process is to stop, and the stop waits for nobody."""
    server, port = rpc_server
    with RpcClient(port, None) as client:
        watch = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == SERVING
        assert server.stop(20)
        with pytest.raises(grpc.RpcError) as raised:
            for answer in watch:
                assert answer.status == NOT_SERVING
        assert failed(raised.value).code == "unavailable"
