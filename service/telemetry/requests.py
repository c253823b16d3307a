"""Requests, added up by method, route and status."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from service.concurrency.primitives import RLock
from service.middleware.environ import ROUTE, STREAMED
from service.telemetry.instruments import REQUEST_S, Instruments
from service.telemetry.tally import Distribution

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD, NO_ROUTE = "other", "none"  # what clients make up is one label each


class Requests:
    """Those that are being answered, and those that were since the last flush."""

    def __init__(self) -> None:
        self._lock = RLock()  # it never waits, so that the native one is right under gevent too
        self._in_flight = 0
        self._ended: dict[tuple[str, str, int], _Ended] = {}

    def began(self) -> None:
        """One came in."""
        with self._lock:
            self._in_flight += 1

    def ended(self, environ: WSGIEnvironment, status: int, duration_s: float, sent: int) -> None:
        """One was answered; see middleware.observation."""
        method, length = environ["REQUEST_METHOD"], environ.get("CONTENT_LENGTH")
        key = (method if method in METHODS else OTHER_METHOD, environ.get(ROUTE, NO_ROUTE), status)
        with self._lock:
            self._in_flight -= 1
            ended = self._ended.get(key)
            if ended is None:
                ended = self._ended[key] = _Ended()
            ended.number += 1
            if STREAMED not in environ:
                ended.seconds.observe(duration_s)
            ended.sent += sent
            if length and length.isdecimal():
                ended.received += int(length)

    def flush(self, to: Instruments) -> None:
        """Hand on what has been added since the last time."""
        with self._lock:
            to.in_flight.set(self._in_flight)
            for (method, route, status), ended in self._ended.items():
                if ended.number:
                    to.requests.labels(method, route, str(status)).inc(ended.number)
                    to.request_bytes.labels(route).inc(ended.received)
                    to.response_bytes.labels(route).inc(ended.sent)
                    ended.seconds.move_to(to.request_seconds.labels(route))
                    ended.number = ended.received = ended.sent = 0


class _Ended:
    """Those of one method, route and status."""

    __slots__ = ("number", "received", "seconds", "sent")

    def __init__(self) -> None:
        self.seconds = Distribution(REQUEST_S)
        self.number = self.received = self.sent = 0
