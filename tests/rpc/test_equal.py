"""One table of cases is sent over HTTP and over gRPC, each to a database of its own: what comes of it must be equal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from service.app import Application
from service.commands.grpc import make_server
from service.config import Config
from service.rpc.status import STATUS
from service.rpc.translation import fill
from tests.client import ApiClient, Reply
from tests.conftest import TestServer, fresh_database, make_key
from tests.rpc.cases import CASES, Case
from tests.rpc.client import Outcome, RpcClient, request

TOLD = ("etag", "idempotency-replayed", "ratelimit-policy", "retry-after")


@pytest.fixture
def other(test_server: TestServer, config: Config) -> Iterator[RpcClient]:
    """A client of a server on another, equally empty database."""
    for url in fresh_database(test_server, "template"):
        application = Application(replace(config, database_url=url)).open()
        server = make_server(application, replace(config, grpc_bind="127.0.0.1:0"))
        with RpcClient(server.start(), make_key(url)) as client:
            yield client
        assert server.stop(10)
        assert application.close(10) == []


def test_http_and_grpc_come_to_the_same(api: ApiClient, other: RpcClient) -> None:
    """Rows, codes, sentences, fields at fault, versions, replays: in order, since each case finds what those before left."""
    ids = {"HOLD": 0, "FIRST": 0, "LAST": 0}
    met = set()
    for number, case in enumerate(CASES):
        reply, outcome = send(api, case, ids), call(other, case, ids)
        where = f"case {number}: {case}"
        assert outcome.code == reply.code, where
        assert outcome.status is (grpc.StatusCode.OK if reply.code is None else STATUS[reply.code]), where
        headers = {name.lower(): value for name, value in reply.headers.items()}
        assert {n: outcome.metadata.get(n) for n in TOLD} == {n: headers.get(n) for n in TOLD}, where
        assert ("ledger-position" in outcome.metadata) == ("ledger-position" in headers), where
        if reply.code is None:
            met.add(case.call)
            shown = {} if reply.json is None else reply.json
            assert plain(outcome.message) == plain(as_message(outcome.message, shown)), where
            if shown.get("kind") == "hold":
                ids["HOLD"] = shown["id"] or ids["HOLD"]
            if "min_balance" in shown:
                ids["LAST"] = shown["id"]
            if shown.get("kind") == "transfer":
                ids["FIRST"] = ids["FIRST"] or shown["id"]
        else:
            met.add(reply.code)
            assert (outcome.details, list(outcome.fields)) == (reply.json["detail"], reply.fields), where
    assert {"invalid_input", "not_found", "insufficient_funds", "limit_exceeded", "hold_resolved", "not_a_hold", "conflict",
            "not_reversible", "already_reversed", "idempotency_key_reused", "version_mismatch", "asset_mismatch",
            "same_account", "account_closed", "account_frozen", "unauthenticated"} <= met


def send(api: ApiClient, case: Case, ids: dict[str, int]) -> Reply:
    """The case over HTTP."""
    method, path = case.request.split(" ")
    for name, number in ids.items():
        path = path.replace(name, str(number))
    return api.call(method, path, None if case.body is None else named(case.body, ids), **case.headers)


def call(client: RpcClient, case: Case, ids: dict[str, int]) -> Outcome:
    """The case over gRPC."""
    service = "UserService" if "User" in case.call else "LedgerService"
    message = ParseDict(named(case.fields, ids), request(service, case.call)())
    return client.call(service, case.call, message, **{name.lower(): value for name, value in case.headers.items()})


def named(fields: dict[str, Any], ids: dict[str, int]) -> dict[str, Any]:
    """`fields` with the ids that words stand for."""
    return {name: ids.get(value, value) if isinstance(value, str) else value for name, value in fields.items()}


def as_message(like: Any, shown: dict[str, Any]) -> Any:
    """What HTTP has shown, as a message of the kind of `like`."""
    if "data" in shown:
        rows = next(name for name in like.DESCRIPTOR.fields_by_name if not name.endswith("_cursor"))
        shown = {rows: shown.pop("data"), **shown}
    assert set(shown) <= set(like.DESCRIPTOR.fields_by_name), "HTTP has members that the message has no field for"
    return fill(type(like)(), shown)


def plain(message: Any) -> Any:
    """A message without what differs from one moment to the next, and from one database to another."""
    if isinstance(message, Timestamp):
        return "a time"
    if isinstance(message, Struct):
        return message.SerializeToString(deterministic=True)
    found = {}
    for field, value in message.ListFields():
        if field.is_repeated:
            found[field.name] = [plain(each) for each in value]
        else:
            found[field.name] = "a cursor" if field.name.endswith("_cursor") else plain(value) if field.message_type else value
    return found
