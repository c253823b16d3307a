"""Errors at this edge: the one table from code to gRPC status, and the details that go with it.

A status says less than a code, so the code comes along twice: in `ledgerd-code` of the trailing metadata, for those who read
text, and as the reason of a google.rpc.ErrorInfo in `grpc-status-details-bin`, beside the fields at fault (BadRequest), the
time to wait (RetryInfo) and the request's id (RequestInfo).
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status as RichStatus

from service.errors import LedgerdError

DOMAIN = "ledgerd"
CODE, DETAILS = "ledgerd-code", "grpc-status-details-bin"
MOST_DETAILS = 3_000  # bytes of fields at fault: peers take 8 KiB of metadata in all, and this is sent as base64
LONGEST_MESSAGE = 500  # characters

_INVALID, _PRECONDITION = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
STATUS = {
    "malformed_request": _INVALID,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "method_not_allowed": grpc.StatusCode.UNIMPLEMENTED,
    "conflict": _PRECONDITION,
    "version_mismatch": grpc.StatusCode.ABORTED,
    "payload_too_large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "unsupported_media_type": _INVALID,
    "invalid_input": _INVALID,
    "insufficient_funds": _PRECONDITION,
    "asset_mismatch": _PRECONDITION,
    "account_closed": _PRECONDITION,
    "account_frozen": _PRECONDITION,
    "same_account": _INVALID,
    "limit_exceeded": _PRECONDITION,
    "not_a_hold": _PRECONDITION,
    "hold_resolved": _PRECONDITION,
    "not_reversible": _PRECONDITION,
    "already_reversed": _PRECONDITION,
    "idempotency_key_reused": _PRECONDITION,
    "rate_limited": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "client_closed_request": grpc.StatusCode.CANCELLED,
    "internal": grpc.StatusCode.INTERNAL,
    "overloaded": grpc.StatusCode.UNAVAILABLE,
    "unavailable": grpc.StatusCode.UNAVAILABLE,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
    "outcome_unknown": grpc.StatusCode.UNKNOWN,  # no client repeats it by itself
}

Metadata = Sequence[tuple[str, str | bytes]]


def describe(error: LedgerdError, request_id: str) -> tuple[grpc.StatusCode, str, Metadata]:
    """The status of an error, its sentence, and the trailing metadata that tell the rest."""
    status = STATUS[error.code]
    number, _ = status.value
    message = error.message if len(error.message) <= LONGEST_MESSAGE else error.message[:LONGEST_MESSAGE] + "…"
    rich = RichStatus(code=number, message=message, details=[_pack(detail) for detail in _details(error, request_id)])
    told: list[tuple[str, str | bytes]] = [(CODE, error.code), (DETAILS, rich.SerializeToString())]
    if error.retry_after_s is not None:
        told.append(("retry-after", str(error.retry_after_s)))
    return status, message, told


def _details(error: LedgerdError, request_id: str) -> list[Message]:
    details: list[Message] = [
        ErrorInfo(reason=error.code.upper(), domain=DOMAIN, metadata={"code": error.code}),
        RequestInfo(request_id=request_id),
    ]
    if error.fields:
        details.append(_fields(error))
    if error.retry_after_s is not None:
        details.append(RetryInfo(retry_delay=Duration(seconds=error.retry_after_s)))
    return details


def _fields(error: LedgerdError) -> BadRequest:
    """The fields at fault, as many as there is room for."""
    found, size = BadRequest(), 0
    for each in error.fields:
        size += len(each.field.encode()) + len(each.message.encode())
        if size > MOST_DETAILS:
            break
        found.field_violations.add(field=each.field, description=each.message)
    return found


def _pack(detail: Message) -> Packed:
    packed = Packed()
    packed.Pack(detail)
    return packed
