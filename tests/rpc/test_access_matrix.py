"""Every method with every key: without one, without the scope, and of another ledger; made from the table of methods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from service.app import Application
from service.commands.grpc import make_server
from service.config import Config
from service.ledger.scopes import FINE
from service.rpc.services import STREAM_EVENTS, methods
from service.rpc.v1 import ledger_pb2
from tests.conftest import TestServer, fresh_database, make_key
from tests.rpc.client import Outcome, RpcClient, failed, outcome, request

NEEDED = {path: method.route.scope for path, method in methods(Application(Config(database_url="postgresql://no")).routes).items()}
NEEDED[STREAM_EVENTS] = "events:read"
NAMED = {"id", "hold_id", "transfer_id"}  # fields by which a thing is asked for


@pytest.fixture(scope="module")
def world(test_server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """The port of one server for all of these tests, and its database."""
    folder: Path = tmp_path_factory.mktemp("world")
    for url in fresh_database(test_server, "template"):
        settings: dict[str, Any] = {"data_dir": folder, "run_dir": folder / "run", "grpc_bind": "127.0.0.1:0"}
        config = Config(database_url=url, **settings, db_max_open=8, log_level="warning")
        application = Application(config).open()
        server = make_server(application, config)
        yield server.start(), url
        assert server.stop(10)
        assert application.close(10) == []


def call(port: int, key: str | None, path: str, data: bytes = b"") -> Outcome:
    """The first answer to a message, or the error."""
    with RpcClient(port, key) as client:
        if path != STREAM_EVENTS:
            return outcome(client.channel.unary_unary(path), data, 20, client.metadata())
        now = ledger_pb2.StreamEventsRequest(after=0, follow=False).SerializeToString()
        stream = client.channel.unary_stream(path)(data or now, metadata=client.metadata(), timeout=20)
        try:
            first: Any = next(stream, None)
        except grpc.RpcError as error:
            return failed(error)
        finally:
            stream.cancel()
        return Outcome(grpc.StatusCode.OK, None, first, "", {})


@pytest.mark.parametrize("path", sorted(NEEDED))
def test_it_needs_a_key_with_its_scope(world: tuple[int, str], path: str) -> None:
    """No key, no answer; every scope but the one, no answer, whatever the message; that one alone is enough."""
    port, url = world
    for data in (b"", b"\xff\xff"):
        assert call(port, None, path, data).code == "unauthenticated"
        lacking = make_key(url, "main", *(scope for scope in FINE if scope != NEEDED[path]))
        assert call(port, lacking, path, data).code == "forbidden"
    assert call(port, make_key(url, "main", NEEDED[path]), path).code not in ("unauthenticated", "forbidden")


@pytest.mark.parametrize("path", sorted(NEEDED))
def test_it_shows_nothing_of_another_ledger(world: tuple[int, str], path: str) -> None:
    """What is asked for by id is not there, what is listed is empty, and nothing of it was changed."""
    port, url = world
    service, name = path.removeprefix("/ledgerd.v1.").split("/")
    with RpcClient(port, make_key(url, "theirs")) as theirs:
        user = theirs.user("CreateUser", {"name": "secret", "email": f"secret-{name}@example.com"}).message
        accounts = [
            theirs.ledger("CreateAccount", {"asset": "USD/2", "without_min_balance": True, "user_id": user.id}).message
            for _ in range(2)
        ]
        pair = {"from_account_id": accounts[0].id, "to_account_id": accounts[1].id}
        held = theirs.ledger("CreateTransfer", {**pair, "amount": 7, "hold": True, "reference": "secret"}).message
        before = theirs.ledger("GetAccount", {"id": accounts[1].id}).message
        things = {"User": user.id, "Account": accounts[0].id}
        fields = {
            field: next((number for kind, number in things.items() if kind in name), held.id)
            for field in NAMED & set(request(service, name).DESCRIPTOR.fields_by_name)
        }
        if name in ("GetBalance", "ListEntries"):
            fields = {"account_id": accounts[0].id}
        if name == "CreateTransfer":
            fields = {**pair, "amount": 1}
        if name == "CreateLinkedTransfers":
            fields = {"transfers": [{**pair, "amount": 1}, {**pair, "amount": 2}]}
        if name == "CreateAccount":
            fields = {"asset": "USD/2", "user_id": user.id}
        if name == "UpdateUser":
            fields |= {"name": "mine", "email": "mine@example.com"}
        if name == "UpdateAccount":
            fields |= {"status": 2}
        if name == "CreateUser":
            fields = {"name": "mine", "email": user.email}  # taken there, and free here
        mine = call(port, make_key(url, f"mine-{name.lower()}"), path, request(service, name)(**fields).SerializeToString())
        if fields and name != "CreateUser":
            assert mine.code == "not_found", mine
            assert "secret" not in mine.details
        else:
            assert mine.code is None, mine
            assert b"secret" not in (mine.message or b"").replace(user.email.encode(), b"")
        assert theirs.user("GetUser", {"id": user.id}, cache_control="no-cache").message == user
        assert theirs.ledger("GetAccount", {"id": accounts[1].id}).message == before
        assert theirs.ledger("GetTransfer", {"id": held.id}).message == held
