"""The gRPC server: its threads, its bounds, and what it serves.

Threads are for `threads` unary calls, `streams` streams of events, and a few of those that need no key, which have bounds of
their own: what everybody may ask takes nothing from whoever has a key. As many calls as `WAITING` times the threads may wait
for a thread; further ones are refused at once, by grpc itself: RESOURCE_EXHAUSTED without a word of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from wsgiref.types import WSGIApplication

import grpc

from service.api.routes import Route
from service.concurrency.context import background, with_cancel
from service.concurrency.primitives import monotonic
from service.concurrency.spawn import Tasks
from service.errors import ConfigurationError
from service.middleware.body_limit import MEBIBYTE
from service.rpc import health, reflection
from service.rpc.handlers import Handlers
from service.rpc.health import Health
from service.rpc.overdue import Overdue
from service.rpc.places import Places
from service.rpc.reflection import Reflection
from service.rpc.services import STREAM_EVENTS, methods

POLL_S = 0.05
STOP_S = 1.0
CHECKS, WATCHERS = 8, 8  # questions about health at once; watchers of it and users of reflection together
WAITING = 4  # calls that may wait, for each thread
CHECK, WATCH = f"/{health.SERVICE}/Check", f"/{health.SERVICE}/Watch"
REFLECT = f"/{reflection.SERVICE}/ServerReflectionInfo"
PUBLIC = frozenset({CHECK, WATCH, REFLECT})
ENDLESS = frozenset({STREAM_EVENTS, WATCH})  # as long as the client wants

OPTIONS = {
    "grpc.max_receive_message_length": MEBIBYTE,
    "grpc.so_reuseport": 0,  # two servers on one port by mistake would share its calls
    "grpc.keepalive_time_ms": 60_000,  # so that the call of a client that is gone without a word ends
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.http2.min_ping_interval_without_data_ms": 10_000,  # clients may ask so often whether the server is there
    "grpc.max_connection_idle_ms": 300_000,
    "grpc.server_handshake_timeout_ms": 10_000,  # for a connection that says nothing
    "grpc.max_allowed_incoming_connections": 4_096,
    "grpc.max_concurrent_streams": 1_024,  # calls of one connection; further ones wait at the client
}


class GrpcServer:
    """Listens from `start` to `stop`. `intercept` makes the interceptors from the public paths and how long calls may take."""

    def __init__(
        self,
        routes: Iterable[Route],
        intercept: Callable[..., WSGIApplication],
        *,
        bind: str,
        threads: int,
        streams: int,
        longest_s: float,
        events: WSGIApplication,
    ) -> None:
        """`events` is the behaviour of StreamEvents."""
        self._bind = bind
        unary = methods(routes)
        names = sorted({path.split("/")[1] for path in unary})
        self.health = Health(names)
        self._tasks, self._overdue, self._serving = Tasks(background()), Overdue(), with_cancel(background())
        app = intercept(public_paths=PUBLIC, longest_s=lambda path: None if path in ENDLESS else longest_s)
        handlers = Handlers(app, self._overdue)
        checking, watching = Places(CHECKS, self._serving), Places(WATCHERS, self._serving)
        reflect = Reflection([*names, health.SERVICE, reflection.SERVICE]).tell
        found = {path: handlers.unary(path, method) for path, method in unary.items()} | {
            CHECK: handlers.unary(CHECK, checking.unary(self.health.check)),
            WATCH: handlers.stream(WATCH, watching.stream(self.health.watch)),
            REFLECT: handlers.stream(REFLECT, watching.stream(reflect)),
            STREAM_EVENTS: handlers.stream(STREAM_EVENTS, Places(streams, self._serving).stream(events)),
        }
        most = threads + streams + CHECKS + WATCHERS
        self._threads = ThreadPoolExecutor(most, "grpc")
        self._server = grpc.server(
            self._threads, [_Table(found)], options=list(OPTIONS.items()), maximum_concurrent_rpcs=most + WAITING * threads
        )

    def start(self) -> int:
        """Listen; returns the port. Raises ConfigurationError where the address cannot be had."""
        try:
            port = self._server.add_insecure_port(self._bind)
        except RuntimeError as error:
            raise ConfigurationError(f"LEDGERD_GRPC_BIND: {self._bind} cannot be listened on: {error}") from None
        self._tasks.spawn("overdue calls", self._overdue.run)
        self._server.start()
        return port

    def stop(self, timeout_s: float, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Take no more calls, end the streams, and finish the others. A second time does nothing.

        What is left after `timeout_s`, or as soon as `hurry()` says so, is cut off: False.
        """
        self.health.set(False)
        stopped = self._server.stop(timeout_s)
        self._serving.cancel()
        end = monotonic() + timeout_s
        while not (whole := stopped.wait(POLL_S)) and monotonic() < end and not hurry():
            pass
        if not whole:
            self._server.stop(None)
        self._threads.shutdown()
        self._tasks.stop(STOP_S)
        return whole


class _Table(grpc.GenericRpcHandler):
    """Finds the handler of a path."""

    def __init__(self, handlers: Mapping[str, grpc.RpcMethodHandler[bytes, bytes]]) -> None:
        self._handlers = handlers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """None: UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)
