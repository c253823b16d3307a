"""A call as the middleware takes it: gRPC is HTTP, so a call has a method, a path, headers and a peer like any request."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote
from wsgiref.types import WSGIEnvironment

import grpc

from service.concurrency.context import Context, with_timeout
from service.errors import ClientClosedRequest, MalformedRequest
from service.middleware.environ import KEY_REPEATED, ROUTE
from service.rpc.overdue import Overdue

SERVICER = "ledgerd.rpc.context"  # grpc's own context of the call
MESSAGES = "ledgerd.rpc.messages"  # the client's messages as they come, in bytes
FAILURE = "ledgerd.rpc.failure"  # the LedgerdError that the call ends with
LIFE = "ledgerd.rpc.life"  # the call's Context for as long as it lasts; that of a stream outlasts what derives from it
OVERDUE = "ledgerd.rpc.overdue"  # who cuts off what waits for a client for too long
BEHAVIOUR = "ledgerd.rpc.behaviour"  # the WSGI application that answers this method

MESSAGE_S = 10.0  # for a message to come
OPEN_MESSAGE_S = 2.0  # for one of a call that needs no key

TAKEN = {  # metadata that counts; the rest is passed over
    name: "HTTP_" + name.upper().replace("-", "_")
    for name in (
        "authorization", "cache-control", "idempotency-key", "if-match", "ledger-position", "traceparent", "tracestate",
        "user-agent", "x-forwarded-for", "x-request-id",
    )
}


def make_environ(path: str, context: grpc.ServicerContext, messages: Iterator[bytes]) -> WSGIEnvironment:
    """The environment of a call of the method `path`."""
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "QUERY_STRING": "", "REMOTE_ADDR": _address(context.peer()),
        ROUTE: path, SERVICER: context, MESSAGES: messages,
    }
    for name, value in context.invocation_metadata():
        if (key := TAKEN.get(name)) is not None:
            text = value if isinstance(value, str) else value.decode("latin-1")
            if key in environ and key == "HTTP_IDEMPOTENCY_KEY":
                environ[KEY_REPEATED] = True
            environ[key] = text if key not in environ else f"{environ[key]},{text}"
    return environ


def read_message(environ: WSGIEnvironment, within_s: float = MESSAGE_S) -> bytes:
    """The client's one message, waited for `within_s` seconds. Raises MalformedRequest where there is none, or as
    `next_message`.
    """
    message = next_message(environ, within_s)
    if message is None:
        raise MalformedRequest("The call has no message.")
    environ["CONTENT_LENGTH"] = str(len(message))
    return message


def next_message(environ: WSGIEnvironment, within_s: float) -> bytes | None:
    """The client's next message, None after the last; then the call is cut off, and also at its own end.

    Raises DeadlineExceeded, or the error of the call's context.
    """
    life: Context = environ[LIFE]
    overdue: Overdue = environ[OVERDUE]
    with with_timeout(life, within_s) as waiting:
        try:
            with overdue.watching(waiting, environ[SERVICER].cancel):  # whoever sends half a message must not keep a thread
                message: bytes | None = next(environ[MESSAGES], None)
        except Exception:  # noqa: BLE001  # grpc's own way to say that the call is over
            waiting.check()
            raise ClientClosedRequest("The client ended the call.") from None
    return message


def _address(peer: str) -> str:
    """The IP address in grpc's name of a peer; empty for a Unix socket."""
    kind, _, rest = peer.partition(":")
    return unquote(rest).rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""
