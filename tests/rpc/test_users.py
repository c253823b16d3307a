"""UserService: the users of /api/users, over real sockets."""

from __future__ import annotations

import grpc
import pytest

from service.rpc.status import STATUS
from service.rpc.v1 import users_pb2
from tests.client import ApiClient
from tests.conftest import make_key
from tests.rpc.client import RpcClient

OK = grpc.StatusCode.OK


def test_a_user_is_made_read_changed_listed_and_removed(rpc: RpcClient, api: ApiClient) -> None:
    """The whole life of a user, with the same fields and versions as over HTTP."""
    made = rpc.user("CreateUser", {"name": "Ada", "email": "ada@example.com", "metadata": {"tier": "gold", "n": [1, None]}})
    assert made.status is OK
    assert (made.message.name, made.message.version, made.metadata["etag"]) == ("Ada", 1, '"1"')
    assert made.metadata["ledger-position"]
    number = made.message.id
    shown = api.get(f"/api/users/{number}").json
    assert shown["metadata"] == {"tier": "gold", "n": [1, None]}, "whole numbers stay whole"
    assert shown["created_at"] == made.message.created_at.ToDatetime().isoformat(timespec="microseconds") + "Z"

    read = rpc.user("GetUser", {"id": number})
    assert read.message == made.message
    stale = rpc.user("UpdateUser", {"id": number, "name": "B", "email": "b@example.com"}, if_match='"7"')
    assert (stale.status, stale.code) == (grpc.StatusCode.ABORTED, "version_mismatch")
    changed = rpc.user("UpdateUser", {"id": number, "name": "B", "email": "b@example.com"}, if_match='"1"')
    assert (changed.message.version, changed.message.email, dict(changed.message.metadata)) == (2, "b@example.com", {})

    rpc.user("CreateUser", {"name": "Cy", "email": "cy@example.com"})
    first = rpc.user("ListUsers", {"limit": 1})
    second = rpc.user("ListUsers", {"limit": 1, "cursor": first.message.next_cursor})
    assert [user.name for page in (first, second) for user in page.message.users] == ["B", "Cy"]
    assert not second.message.HasField("next_cursor")
    assert [user.id for user in rpc.user("ListUsers", {"email": "b@example.com"}).message.users] == [number]

    assert rpc.user("DeleteUser", {"id": number}).status is OK
    gone = rpc.user("GetUser", {"id": number}, cache_control="no-cache")
    assert (gone.status, gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "not_found", "NOT_FOUND")


def test_errors_name_the_fields_at_fault(rpc: RpcClient) -> None:
    """The fields are in a BadRequest, and the code beside them."""
    reply = rpc.user("CreateUser", {"name": "", "email": "nobody"})
    assert (reply.status, reply.code, reply.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_input", "INVALID_INPUT")
    assert set(reply.fields) == {"name", "email"}
    assert rpc.user("GetUser").fields == ("id",)
    assert rpc.user("CreateUser").fields == ("name", "email"), "what is not sent is missing, not empty"


@pytest.mark.parametrize("number", [0, -1, -(2**63), 2**63 - 1])
def test_ids_that_nobody_has_are_not_found(rpc: RpcClient, number: int) -> None:
    """However far out they are."""
    assert rpc.user("GetUser", {"id": number}).code == "not_found"


def test_a_field_that_the_server_does_not_know_is_refused(rpc: RpcClient) -> None:
    """A client that is newer than the server must learn that a part of its request would be ignored."""
    newer = users_pb2.CreateUserRequest(name="1", email="2").SerializeToString()
    reply = rpc.raw("/ledgerd.v1.UserService/GetUser", newer)
    assert (reply.code, reply.fields) == ("invalid_input", ("#1", "#2"))


def test_what_is_no_message_is_told(rpc: RpcClient) -> None:
    """Bytes that are none, and a text that is not UTF-8."""
    for data in (b"\xff\xff\xff", b"\x12\x02\xff\xfe"):
        reply = rpc.raw("/ledgerd.v1.UserService/CreateUser", data)
        assert (reply.status, reply.code) == (grpc.StatusCode.INVALID_ARGUMENT, "malformed_request")


def test_metadata_that_cannot_be_kept_are_refused(rpc: RpcClient) -> None:
    """Numbers that are not whole, as in JSON; and those that JSON has not at all."""
    def made(number: float) -> tuple[str | None, tuple[str, ...]]:
        reply = rpc.user("CreateUser", {"name": "A", "email": "a@example.com", "metadata": {"n": [number]}})
        return reply.code, reply.fields

    for number in (1.5, 2.0**60, 1e300, float("nan"), float("inf"), -float("inf")):
        assert made(number) == ("invalid_input", ("metadata",)), number
    assert made(-(2.0**53 - 1)) == (None, ())


def test_a_message_above_the_limit_is_refused(rpc: RpcClient) -> None:
    """Plain, and where it is small only as long as it is compressed."""
    huge = {"name": "x" * (2 << 20), "email": "a@example.com"}
    assert rpc.user("CreateUser", huge).status is grpc.StatusCode.RESOURCE_EXHAUSTED
    message = users_pb2.CreateUserRequest(**huge).SerializeToString()
    method = rpc.channel.unary_unary("/ledgerd.v1.UserService/CreateUser")
    with pytest.raises(grpc.RpcError) as raised:
        method(message, metadata=rpc.metadata(), compression=grpc.Compression.Gzip, timeout=30)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc.user("ListUsers").status is OK, "the server goes on"


def test_each_code_has_a_status() -> None:
    """The table knows the whole taxonomy, and nothing else."""
    from service.errors import taxonomy

    assert set(STATUS) == set(taxonomy())


def test_a_user_of_another_ledger_is_not_there(rpc: RpcClient, rpc_server: tuple[object, int], database_url: str) -> None:
    """Nor may its cursor be used."""
    rpc.user("CreateUser", {"name": "A", "email": "a@example.com"})
    number = rpc.user("CreateUser", {"name": "B", "email": "b@example.com"}).message.id
    cursor = rpc.user("ListUsers", {"limit": 1}).message.next_cursor
    with RpcClient(rpc_server[1], make_key(database_url, "other")) as other:
        assert other.user("GetUser", {"id": number}).code == "not_found"
        assert other.user("DeleteUser", {"id": number}).code == "not_found"
        assert other.user("ListUsers", {"limit": 1, "cursor": cursor}).fields == ("cursor",)
