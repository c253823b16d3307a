"""LedgerService.StreamEvents: the log of events, from anywhere in it and for as long as the client listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest

from service.app import Application
from service.commands.grpc import make_server
from service.config import Config
from service.rpc.server import GrpcServer
from service.rpc.translation import fill
from service.rpc.v1 import ledger_pb2, ledger_pb2_grpc
from tests.client import ApiClient
from tests.conftest import make_key
from tests.rpc.client import Outcome, RpcClient, failed
from tests.rpc.test_equal import plain
from tests.serving import wait_until

Server = tuple[GrpcServer, int]
OK = grpc.StatusCode.OK


@contextmanager
def listening(client: RpcClient, timeout_s: float | None = 60, **fields: Any) -> Iterator[Any]:
    """A stream, which is cancelled at the end."""
    stub = ledger_pb2_grpc.LedgerServiceStub(client.channel)
    call = stub.StreamEvents(ledger_pb2.StreamEventsRequest(**fields), metadata=client.metadata(), timeout=timeout_s)
    try:
        yield call
    finally:
        call.cancel()


def events(client: RpcClient, **fields: Any) -> list[Any]:
    """All events that there are now."""
    with listening(client, follow=False, **fields) as call:
        return list(call)


def end_of(call: Any) -> Outcome:
    """How a stream ends that fails; what comes before is passed over."""
    with pytest.raises(grpc.RpcError) as raised:
        for _ in call:
            pass
    return failed(raised.value)


@pytest.fixture
def accounts(rpc: RpcClient) -> list[int]:
    """One without a floor, and one more."""
    made = [rpc.ledger("CreateAccount", {"asset": "USD/2", **floor}) for floor in ({"without_min_balance": True}, {})]
    return [each.message.id for each in made]


def post(client: RpcClient, accounts: list[int], amount: int = 5, **fields: Any) -> int:
    """The id of a new transfer."""
    message = {"from_account_id": accounts[0], "to_account_id": accounts[1], "amount": amount, **fields}
    outcome = client.ledger("CreateTransfer", message)
    assert outcome.status is OK, outcome
    return int(outcome.message.id)


def test_all_that_has_happened_is_told_in_order(rpc: RpcClient, accounts: list[int]) -> None:
    """From the beginning, from any event, of some types, about some accounts; the messages are what HTTP tells."""
    first = post(rpc, accounts, metadata={"a": [1, None]}, reference="r")
    hold = post(rpc, accounts, hold=True)
    capture = rpc.ledger("CaptureHold", {"hold_id": hold}).message.id
    rpc.ledger("UpdateAccount", {"id": accounts[1], "status": "ACCOUNT_STATUS_FROZEN"})
    told = events(rpc, after=0)
    assert [event.type for event in told] == [
        "account.created", "account.created", "transfer.posted", "hold.placed", "hold.captured", "account.updated",
    ]
    ids = [event.id for event in told]
    assert ids == sorted(ids)
    assert ids[2:5] == [first, hold, capture]
    assert told[2].data.transfer == rpc.ledger("GetTransfer", {"id": first}).message
    account = told[-1].data.account
    assert (account.id, account.status, account.HasField("max_balance")) == (accounts[1], 2, False)

    assert [event.id for event in events(rpc, after=hold)] == ids[4:]
    assert [event.id for event in events(rpc, after=0, types=["hold.placed", "hold.captured"])] == ids[3:5]
    assert [event.id for event in events(rpc, after=0, account_ids=[accounts[1]], types=["account.created"])] == [ids[1]]
    assert events(rpc) == [], "from now on, and no further"


def test_it_tells_what_http_tells(rpc: RpcClient, api: ApiClient, accounts: list[int]) -> None:
    """Every member of an event's JSON has its field."""
    from service.api.representation import show_event

    post(rpc, accounts, hold=True, expires_in_s=600, reference="r", metadata={"x": {"y": True}})
    resources = api.application.resources  # of both
    (ledger_id,) = {event.ledger_id for event in read_log(resources, 1)}
    told = {event.id: event for event in events(rpc, after=0)}
    log = read_log(resources, ledger_id)
    assert len(log) == len(told) == 3
    for event in log:
        shown = show_event(event)
        expected = fill(ledger_pb2.Event(), shown)
        assert plain(told[event.id]) == plain(expected)
        members = set(shown["data"].get("transfer") or shown["data"]["account"])
        assert members <= set(getattr(expected.data, expected.data.WhichOneof("subject")).DESCRIPTOR.fields_by_name)


def read_log(resources: Any, ledger_id: int) -> list[Any]:
    """The events of a ledger, as the store reads them."""
    from service.concurrency.context import background

    until = resources.events.advance(background())
    return list(resources.events.read(background(), ledger_id, after=0, until=until, limit=100))


def test_what_happens_is_told_at_once_and_nothing_twice(rpc: RpcClient, accounts: list[int]) -> None:
    """A stream that begins in the past goes on with what comes, without a gap; one that comes back resumes."""
    posted = [post(rpc, accounts) for _ in range(3)]
    with listening(rpc, after=posted[0]) as call:
        posted += [post(rpc, accounts) for _ in range(3)]
        assert [next(call).id for _ in range(5)] == posted[1:]
        posted.append(post(rpc, accounts))
        assert next(call).id == posted[-1]
    posted += [post(rpc, accounts) for _ in range(2)]
    with listening(rpc, after=posted[-3]) as call:
        assert [next(call).id for _ in range(2)] == posted[-2:]


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"after": -1}, "after"), ({"after": 10**9}, "after"), ({"after": 2**63 - 1}, "after"),
        ({"types": ["nothing.happened"]}, "types"), ({"types": [""]}, "types"), ({"account_ids": [0]}, "account_id"),
        ({"account_ids": [-5]}, "account_id"), ({"account_ids": list(range(1, 102))}, "account_id"),
    ],
)
def test_a_request_that_cannot_be_is_refused_before_it_begins(rpc: RpcClient, fields: dict[str, Any], blamed: str) -> None:
    """Made up, of the future, of no kind; the field is named."""
    with listening(rpc, **fields) as call:
        end = end_of(call)
    assert (end.status, end.code, end.fields) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_input", (blamed,))


def test_another_ledgers_events_are_not_told(
    rpc: RpcClient, rpc_server: Server, accounts: list[int], database_url: str
) -> None:
    """Nor is one of them a place to begin."""
    post(rpc, accounts)
    theirs = events(rpc, after=0)[-1].id
    with RpcClient(rpc_server[1], make_key(database_url, "other")) as other:
        assert events(other, after=0) == []
        with listening(other, after=theirs) as call:
            assert end_of(call).fields == ("after",)


def test_it_needs_a_key_with_the_scope(rpc_server: Server, database_url: str) -> None:
    """As every call."""
    with RpcClient(rpc_server[1], None) as nobody, listening(nobody, after=0) as call:
        assert end_of(call).code == "unauthenticated"
    with RpcClient(rpc_server[1], make_key(database_url, "main", "transfers:read")) as reader, listening(reader) as call:
        assert end_of(call).code == "forbidden"


def test_a_revoked_key_ends_its_streams(rpc_server: Server, api: ApiClient) -> None:
    """Within seconds, though nothing happens in the ledger."""
    made = api.post("/api/keys", {"scopes": ["read"]}).json
    with RpcClient(rpc_server[1], made["key"]) as client, listening(client) as call:
        call.initial_metadata()  # it has begun
        api.account()
        assert next(call).type == "account.created"
        api.call("DELETE", f"/api/keys/{made['id']}")
        assert end_of(call).code == "unauthenticated"


def test_streams_leave_the_threads_to_calls(rpc: RpcClient, accounts: list[int]) -> None:
    """All places are taken, all calls are answered; a place is free again when a client leaves."""
    with listening(rpc) as one, listening(rpc) as two:
        with listening(rpc) as three:
            for call in (one, two, three):
                call.initial_metadata()  # it has begun
            number = post(rpc, accounts)
            assert [next(call).id for call in (one, two, three)] == [number] * 3
            with listening(rpc) as fourth:
                refused = end_of(fourth)
            assert (refused.status, refused.code) == (grpc.StatusCode.UNAVAILABLE, "overloaded")
            assert refused.retry_after_s
        wait_until(lambda: begins(rpc), 20)


def begins(client: RpcClient) -> bool:
    """Whether there is a place for a stream."""
    try:
        return events(client, after=0) != []
    except grpc.RpcError as error:
        if failed(error).code == "overloaded":
            return False
        raise


def test_a_deadline_ends_a_stream(rpc: RpcClient, accounts: list[int]) -> None:
    """The client's own; the server has none for it."""
    with listening(rpc, timeout_s=1.5, after=0) as call:
        assert end_of(call).status is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_stop_ends_the_streams_and_tells_why(application: Application, config: Config, key: str) -> None:
    """UNAVAILABLE, so that clients come back, to another process; and the stop waits for none of them."""
    server = make_server(application, replace(config, grpc_bind="127.0.0.1:0", timeout_s=10.0))
    with RpcClient(server.start(), key) as client:
        client.ledger("CreateAccount", {"asset": "USD/2"})
        with listening(client, after=0) as call:
            assert next(call).type == "account.created"
            assert server.stop(10)
            end = end_of(call)
    assert (end.status, end.code) == (grpc.StatusCode.UNAVAILABLE, "unavailable")


def test_a_client_that_does_not_read_is_dropped(
    application: Application, config: Config, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds its thread no longer than it may, and the others are told meanwhile."""
    monkeypatch.setattr("service.events.subscription.WAITING", 4)
    server = make_server(application, replace(config, grpc_bind="127.0.0.1:0", grpc_threads=4, grpc_streams=2))
    small = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1024))
    try:
        port = server.start()
        with RpcClient(port, key, small) as stalled, RpcClient(port, key) as client:
            accounts = [
                client.ledger("CreateAccount", {"asset": "USD/2", **floor}).message.id
                for floor in ({"without_min_balance": True}, {})
            ]
            with listening(stalled) as slow, listening(client, after=0) as healthy:
                slow.initial_metadata()
                heard = 0
                for number in range(60):
                    post(client, accounts, metadata={"long": "x" * 16_000})
                    while heard < number:
                        heard += next(healthy).type == "transfer.posted"
                end = end_of(slow)
                assert (end.status, end.code) in (
                    (grpc.StatusCode.UNAVAILABLE, "overloaded"), (grpc.StatusCode.CANCELLED, None),
                )
    finally:
        assert server.stop(10)


def test_streams_leave_nothing_behind(rpc: RpcClient, application: Application, accounts: list[int]) -> None:
    """However they end: read to the end, cancelled before and after they have begun, refused."""
    feed = application.resources.feed
    for number in range(30):
        with listening(rpc, **({"after": 0} if number % 2 else {})) as call:
            if number % 3:
                call.initial_metadata()
    events(rpc, after=0)
    with listening(rpc, after=-1) as call:
        end_of(call)
    wait_until(lambda: feed.clients == 0, 20)
    assert [event.type for event in events(rpc, after=0)] == ["account.created"] * 2
