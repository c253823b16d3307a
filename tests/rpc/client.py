"""A gRPC client of the tests: calls by name, and tells how each ended as HTTP's tests do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2, status_pb2

from service.rpc.v1 import ledger_pb2, ledger_pb2_grpc, users_pb2, users_pb2_grpc

STUBS = {"UserService": users_pb2_grpc.UserServiceStub, "LedgerService": ledger_pb2_grpc.LedgerServiceStub}
MODULES = (users_pb2, ledger_pb2)


@dataclass(frozen=True)
class Outcome:
    """How a call ended: its status, the code in its details, and what it answered."""

    status: grpc.StatusCode
    code: str | None
    message: Any
    details: str
    metadata: dict[str, str]
    fields: tuple[str, ...] = ()
    reason: str = ""
    retry_after_s: int | None = None

    @property
    def json(self) -> dict[str, Any]:
        """The message as a dict, with what is not set left out."""
        return MessageToDict(self.message, preserving_proto_field_name=True)


class RpcClient:
    """One channel to a server on loopback."""

    def __init__(self, port: int, key: str | None, options: tuple[tuple[str, Any], ...] = ()) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", (("grpc.use_local_subchannel_pool", 1), *options))
        self.key = key

    def call(self, service: str, name: str, message: Any, /, timeout_s: float | None = 60, **metadata: str) -> Outcome:
        """Call a unary method; `message` is the request, or its fields. Names of metadata are given with underscores."""
        method = getattr(STUBS[service](self.channel), name)
        if isinstance(message, dict):
            message = request(service, name)(**message)
        return outcome(method, message, timeout_s, self.metadata(**metadata))

    def raw(self, path: str, data: bytes, /, timeout_s: float | None = 60, **metadata: str) -> Outcome:
        """Send bytes to a path, and get bytes."""
        return outcome(self.channel.unary_unary(path), data, timeout_s, self.metadata(**metadata))

    def user(self, name: str, message: Any = None, /, **options: Any) -> Outcome:
        """A call of UserService."""
        return self.call("UserService", name, {} if message is None else message, **options)

    def ledger(self, name: str, message: Any = None, /, **options: Any) -> Outcome:
        """A call of LedgerService."""
        return self.call("LedgerService", name, {} if message is None else message, **options)

    def metadata(self, **given: str) -> list[tuple[str, str]]:
        """The call's metadata, the key among them."""
        named = {name.replace("_", "-"): value for name, value in given.items()}
        if self.key is not None:
            named.setdefault("authorization", f"Bearer {self.key}")
        return list(named.items())

    def close(self) -> None:
        """Close the channel."""
        self.channel.close()

    def __enter__(self) -> RpcClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def request(service: str, name: str) -> Any:
    """The class of a method's request."""
    for module in MODULES:
        if (found := module.DESCRIPTOR.services_by_name.get(service)) is not None:
            return getattr(module, found.methods_by_name[name].input_type.name)
    raise LookupError(service)


def outcome(method: Any, message: Any, timeout_s: float | None, metadata: list[tuple[str, str]]) -> Outcome:
    """Call `method`, and tell how it ended."""
    try:
        answer, call = method.with_call(message, timeout=timeout_s, metadata=metadata)
    except grpc.RpcError as error:
        return failed(error)
    return Outcome(call.code(), None, answer, "", texts(call.trailing_metadata()))


def failed(error: Any) -> Outcome:
    """How a call ended that failed."""
    trailing = dict(error.trailing_metadata() or ())
    found = {"fields": (), "reason": "", "retry_after_s": None}
    if raw := trailing.get("grpc-status-details-bin"):
        rich = status_pb2.Status.FromString(raw)
        assert (rich.code, rich.message) == (error.code().value[0], error.details())
        for packed in rich.details:
            info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
            if packed.Unpack(info):
                found["reason"] = info.reason
            elif packed.Unpack(bad):
                found["fields"] = tuple(violation.field for violation in bad.field_violations)
            elif packed.Unpack(retry):
                found["retry_after_s"] = retry.retry_delay.seconds
    return Outcome(error.code(), trailing.get("ledgerd-code"), None, error.details() or "", texts(trailing.items()), **found)


def texts(metadata: Any) -> dict[str, str]:
    """The metadata that are text."""
    return {name: value for name, value in metadata if isinstance(value, str)}
