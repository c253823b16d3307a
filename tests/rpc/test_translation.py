"""Messages and JSON: nothing is lost on the way, and no bytes are a fault of ours."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput
from service.ledger.money import GREATEST_AMOUNT
from service.rpc.services import STREAM_EVENTS
from service.rpc.translation import fill, parse, to_values
from service.rpc.v1 import ledger_pb2, users_pb2
from tests.rpc.client import RpcClient
from tests.rpc.test_access_matrix import NEEDED

EXACT = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-GREATEST_AMOUNT, GREATEST_AMOUNT) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_metadata_come_back_as_they_were(metadata: dict[str, Any]) -> None:
    """Through the bytes of a message: whole numbers are whole, null is null, an empty one is there."""
    sent = fill(users_pb2.CreateUserRequest(), {"name": "", "metadata": metadata}).SerializeToString()
    assert to_values(parse(users_pb2.CreateUserRequest, sent)) == {"name": "", "metadata": metadata}


@given(st.datetimes())
def test_times_come_back_to_the_microsecond(moment: Any) -> None:
    """In the form that HTTP has."""
    shown = moment.isoformat(timespec="microseconds") + "Z"
    message = fill(ledger_pb2.ListTransfersRequest(), {"since": shown})
    told = to_values(message)["since"]
    assert told in (shown, shown.replace(".000000Z", "Z"))


def test_what_is_set_is_told_and_nothing_else() -> None:
    """0, false and "" are values; what is not sent is not there; `without_` is null, and only where it is true."""
    request = ledger_pb2.CreateTransferRequest(amount=0, hold=False, reference="")
    assert to_values(request) == {"amount": 0, "hold": False, "reference": ""}
    assert to_values(ledger_pb2.UpdateAccountRequest(without_max_balance=True, min_balance=0)) == {
        "max_balance": None, "min_balance": 0,
    }
    assert to_values(ledger_pb2.CreateAccountRequest(without_min_balance=False)) == {}


def test_unknown_fields_are_found_in_messages_too() -> None:
    """Each with its place."""
    inner = ledger_pb2.LinkedTransfer(amount=1).SerializeToString() + b"\xf8\x07\x01"  # field 127
    data = b"".join(b"\x0a" + bytes([len(part)]) + part for part in (b"", inner))
    with pytest.raises(InvalidInput) as raised:
        parse(ledger_pb2.CreateLinkedTransfersRequest, data)
    assert [problem.field for problem in raised.value.fields] == ["transfers[1].#127"]


def test_words_are_enums() -> None:
    """Of one that this server does not know, the number is told, which no schema takes."""
    assert to_values(ledger_pb2.UpdateAccountRequest(status=2)) == {"status": "frozen"}
    assert to_values(ledger_pb2.UpdateAccountRequest(status=99)) == {"status": "99"}
    transfer = fill(ledger_pb2.Transfer(), {"kind": "hold", "status": "open", "reference": None, "new": 1})
    assert (transfer.kind, transfer.status, transfer.HasField("reference")) == (2, 2, False)


def test_a_time_that_is_none_is_told() -> None:
    """Beyond the calendar."""
    request = ledger_pb2.ListTransfersRequest()
    request.since.seconds = 10**15
    with pytest.raises(InvalidInput) as raised:
        to_values(request)
    assert [problem.field for problem in raised.value.fields] == ["since"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.binary(max_size=60))
def test_no_bytes_are_a_fault_of_ours(rpc: RpcClient, data: bytes) -> None:
    """Whatever is sent to whichever method: an answer, or an error that blames the request."""
    for path in NEEDED:
        if path != STREAM_EVENTS:
            assert rpc.raw(path, data).status not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN), path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.builds(
    ledger_pb2.CreateTransferRequest,
    from_account_id=EXACT, to_account_id=st.integers(-2, 3), amount=EXACT, asset=TEXT, reference=TEXT,
    if_from_version=EXACT, hold=st.booleans(), expires_in_s=EXACT, dry_run=st.booleans(),
))
def test_no_values_are_a_fault_of_ours(rpc: RpcClient, message: Any) -> None:
    """However far out."""
    reply = rpc.ledger("CreateTransfer", message)
    assert reply.code in ("invalid_input", "not_found", "same_account"), reply
