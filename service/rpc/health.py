"""grpc.health.v1.Health: whether this process serves, asked once or watched. It needs no key.

The package grpcio-health-checking brings a servicer of its own. Ours is another one, since that one waits for a watcher that
does not read, under the lock that everybody needs who asks.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from grpc_health.v1 import health_pb2

from service.concurrency.context import Context
from service.concurrency.primitives import Parking, RLock
from service.errors import NotFound
from service.rpc.environ import LIFE, OPEN_MESSAGE_S, read_message
from service.rpc.translation import parse

SERVICE = "grpc.health.v1.Health"
_LOOK_S = 30.0  # a watcher looks by itself as well; it is woken at each change

_Response = health_pb2.HealthCheckResponse


class Health:
    """The state of the process, which is that of each of its services `names`; "" stands for all."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names) | {""}
        self._lock = RLock()
        self._serving = False
        self._watching: set[Parking] = set()

    def set(self, serving: bool) -> None:
        """Tell it from now on."""
        with self._lock:
            if self._serving == serving:
                return
            self._serving = serving
            watching = list(self._watching)
        for parking in watching:
            parking.wake()

    def check(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The behaviour of Check. Raises NotFound for a service that there is not."""
        service = _asked(environ)
        if service not in self._names:
            raise NotFound("There is no such service here.")
        start_response("200 OK", [])
        return [_answer(self._status(service))]

    def watch(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The behaviour of Watch: the state, and each one that follows."""
        service = _asked(environ)
        start_response("200 OK", [])
        return self._changes(environ[LIFE], service)

    def _changes(self, ctx: Context, service: str) -> Generator[bytes, None, None]:
        told = None
        while True:
            parking = Parking()
            with self._lock:
                self._watching.add(parking)
            try:
                if (status := self._status(service)) != told:
                    yield _answer(status)
                    told = status
                else:
                    ctx.park(parking, _LOOK_S)
            finally:
                with self._lock:
                    self._watching.discard(parking)
            ctx.check()

    def _status(self, service: str) -> int:
        if service not in self._names:
            return _Response.SERVICE_UNKNOWN
        return _Response.SERVING if self._serving else _Response.NOT_SERVING


def _asked(environ: WSGIEnvironment) -> str:
    message = parse(health_pb2.HealthCheckRequest, read_message(environ, OPEN_MESSAGE_S))
    assert isinstance(message, health_pb2.HealthCheckRequest)
    return message.service


def _answer(status: int) -> bytes:
    return _Response(status=status).SerializeToString()
