"""One request and its answer over a kept connection, cut off when the context ends, wherever it is just then.

A socket's own time-out counts anew for each piece that comes, so an answer that drips would take for ever. Here the end of the
context shuts the socket down, and whoever reads finds that at once. Connections that were idle for longer than any proxy in
between keeps them, or that can be read from, are not used again.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections import deque
from contextlib import closing, suppress
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from service.client.request import Reply, Request, is_of_ledgerd
from service.concurrency.context import Context
from service.concurrency.primitives import Lock
from service.concurrency.semaphore import Semaphore
from service.errors import DeadlineExceeded, PayloadTooLarge

CONNECT_TIMEOUT_S = 3.0
PATIENCE_S = 1.0  # a server that had less time to answer is not to blame that it has not
LONGEST_IDLE_S = 30.0  # nginx keeps an idle connection for 60 s, ledgerd for 75
MOST_ANSWER = 64 << 20  # bytes
NOT_ANSWERED = (502, 503, 504)  # what proxies say where nobody behind them has answered
_FAULTS = (OSError, http.client.HTTPException, HTTPError)


class Broken(Exception):
    """The exchange failed. `sent`: the request may have reached the server; `to_blame`: the server is, and not its caller."""

    def __init__(self, message: str, *, sent: bool, to_blame: bool = True) -> None:
        super().__init__(message)
        self.sent = sent
        self.to_blame = to_blame


class Connections:
    """Those to one instance; at most `most` are in use at once, and as many are kept. `base` is an http(s) URL."""

    def __init__(self, base: str, *, most: int) -> None:
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError(f"expected the URL of a server, such as http://127.0.0.1:8080, not {base!r}")
        self.base = base
        self._host, self._port, self._prefix = parts.hostname, parts.port, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._permits = Semaphore(most)
        self._lock = Lock()
        self._idle: deque[tuple[float, HTTPConnection]] = deque()
        self._closed = False

    def exchange(self, ctx: Context, request: Request, timeout: str) -> Reply:
        """Send `request` with `timeout` as its Request-Timeout. Raises Broken, and the error of `ctx` before it is sent."""
        with self._permits.held(ctx):
            conn = self._take(ctx) or self._connect(ctx)
            is_whole = False
            try:
                reply = self._exchange(ctx, conn, request, timeout)
                is_whole = True
            finally:
                self._give_back(ctx, conn, keep=is_whole)
        if reply.status in NOT_ANSWERED and not is_of_ledgerd(reply):
            raise Broken(f"{self.base} answered {reply.status}, which is a proxy's", sent=True)
        return reply

    def close(self) -> None:
        """Close those that are idle; those in use when they come back."""
        with self._lock:
            self._closed = True
            idle = [conn for _, conn in self._idle]
            self._idle.clear()
        for conn in idle:
            conn.close()

    def _exchange(self, ctx: Context, conn: HTTPConnection, request: Request, timeout: str) -> Reply:
        began, sock = ctx.clock.now(), conn.sock
        forget = ctx.on_done(lambda: _cut(sock))
        try:
            ctx.check()  # nothing is sent yet
            conn.timeout = _seconds(ctx.remaining())  # where the timer is late
            headers = {**request.headers, "request-timeout": timeout}
            with suppress(BrokenPipeError):  # a refusal may have come before the whole body went out
                conn.request(request.method, self._prefix + request.path, request.body, headers, preload_content=False)
            with closing(conn.getresponse()) as response:
                if not _is_framed(request, response):
                    raise http.client.HTTPException("an answer whose end cannot be told")
                body = response.read(MOST_ANSWER + 1)
        except _FAULTS as error:
            if ctx.error() is None:
                raise Broken(f"{self.base} broke off: {error}", sent=True) from error
            had_time = isinstance(ctx.error(), DeadlineExceeded) and ctx.clock.now() - began >= PATIENCE_S
            raise Broken(f"{self.base} has not answered in time", sent=True, to_blame=had_time) from error
        finally:
            forget()
        if len(body) > MOST_ANSWER:
            conn.close()
            raise PayloadTooLarge(f"The answer is larger than {MOST_ANSWER} bytes.")
        return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, body)

    def _connect(self, ctx: Context) -> HTTPConnection:
        ctx.check()
        began, timeout_s = ctx.clock.now(), _seconds(ctx.remaining(), CONNECT_TIMEOUT_S)
        conn = (
            HTTPConnection(self._host, self._port, timeout=timeout_s) if self._tls is None
            else HTTPSConnection(self._host, self._port, timeout=timeout_s, ssl_context=self._tls)
        )
        try:
            conn.connect()
        except _FAULTS as error:
            conn.close()
            had_time = ctx.error() is None or ctx.clock.now() - began >= PATIENCE_S
            raise Broken(f"{self.base} cannot be reached: {error}", sent=False, to_blame=had_time) from error
        return conn

    def _take(self, ctx: Context) -> HTTPConnection | None:
        """The one that was used last, if it is good."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, conn = self._idle.pop()
            if ctx.clock.now() - since < LONGEST_IDLE_S and conn.is_connected:
                return conn
            conn.close()

    def _give_back(self, ctx: Context, conn: HTTPConnection, *, keep: bool) -> None:
        if keep and conn.sock is not None and ctx.error() is None:  # without: the answer said that it is closed
            with self._lock:
                if not self._closed:
                    self._idle.append((ctx.clock.now(), conn))
                    return
        conn.close()


def _is_framed(request: Request, response: BaseHTTPResponse) -> bool:
    """Whether the answer says where it ends. Its headers may have been cut off, which http.client takes for their end."""
    return (
        "content-length" in response.headers or "chunked" in response.headers.get("transfer-encoding", "").lower()
        or response.status in (204, 304) or request.method == "HEAD"
    )


def _cut(sock: socket.socket | None) -> None:
    """Whoever reads from it or writes to it finds its end."""
    if sock is not None:
        with suppress(OSError):  # it is closed
            sock.shutdown(socket.SHUT_RDWR)


def _seconds(remaining_s: float | None, most: float | None = None) -> float | None:
    """As sockets take it: not 0, which is to not wait at all."""
    bounded = min((each for each in (remaining_s, most) if each is not None), default=None)
    return None if bounded is None else max(bounded, 0.001)
