"""The gRPC server in this process, on the application that the HTTP client of the same test calls; real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.app import Application
from service.commands.grpc import make_server
from service.config import Config
from service.rpc.server import GrpcServer
from tests.rpc.client import RpcClient


@pytest.fixture
def rpc_config(config: Config) -> Config:
    """Few threads, so that their end is soon reached."""
    return replace(config, grpc_bind="127.0.0.1:0", grpc_threads=8, grpc_streams=3, timeout_s=10.0)


@pytest.fixture
def rpc_server(application: Application, rpc_config: Config) -> Iterator[tuple[GrpcServer, int]]:
    """A server that listens, and its port."""
    server = make_server(application, rpc_config)
    port = server.start()
    server.health.set(True)
    yield server, port
    assert server.stop(10), "calls that did not end"


@pytest.fixture
def rpc(rpc_server: tuple[GrpcServer, int], key: str) -> Iterator[RpcClient]:
    """A client with an admin key."""
    with RpcClient(rpc_server[1], key) as client:
        yield client
