"""The delivery of one event to one target: a POST, within the deadline of a context, whatever the other side does.

The other side may be anything that a key's holder has named, so nothing of it is trusted: a name's addresses must all be
allowed, and the connection goes to the address that was judged; TLS holds the certificate against the name; redirects are not
followed, proxies of the environment not asked; no more than a few KiB of an answer are read, and each wait is for what is left
of the whole time, so that an answer that drips in takes no longer than one that never comes.

What counts is the status of an answer that has its end, or is longer than what is read of it. 2xx is success; nothing else is.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

import httptools

from service import __version__
from service.concurrency.context import Context
from service.errors import DeadlineExceeded, LedgerdError
from service.events.connections import Connection, Connections, peer_of
from service.events.lookup import Lookups
from service.events.targets import Addresses, Target

MOST_HEAD = 16_384  # bytes before the body
MOST_BODY = 4_096
MOST_ADDRESSES = 4  # that are tried
_READ = 4_096
GONE = 410


class DeliveryFailed(Exception):
    """It has not arrived, as far as one can tell. `problem`: what is wrong, fit for whoever made the webhook.

    `retry_after_s`: for how long the receiver does not want to be asked again.
    """

    def __init__(self, problem: str, *, status: int | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(problem)
        self.problem = problem
        self.status = status
        self.retry_after_s = retry_after_s


class _NoAnswer(DeliveryFailed):
    """Not a byte of one."""


class Sender:
    """See the module. `connections` are those that are kept open between attempts."""

    def __init__(
        self, addresses: Addresses, lookups: Lookups, tls: ssl.SSLContext | None = None,
        connections: Connections | None = None,
    ) -> None:
        self._addresses = addresses
        self._lookups = lookups
        self._tls = tls or ssl.create_default_context()
        self.connections = connections or Connections()

    def send(self, ctx: Context, target: Target, headers: Sequence[tuple[str, str]], body: bytes) -> int:
        """POST `body` with `headers`; the status of the answer, which is 2xx.

        `ctx` has a deadline. Raises DeliveryFailed, also when that passes; the error of `ctx` when it is cancelled.
        """
        assert ctx.deadline is not None, "an attempt without a deadline would never end"
        ctx.check()
        request = _request(target, headers, body)
        try:
            kept = self.connections.take(target)
            answer = None if kept is None else self._try_kept(ctx, kept, request)
            if answer is None:
                made = Connection(self._connect(ctx, target), peer_of(target))
                answer = self._exchange(ctx, made, request)
        except (OSError, LedgerdError, httptools.HttpParserError, DeliveryFailed) as error:
            raise _failure(ctx, error) from error
        status = answer.status or 0
        if 200 <= status <= 299:
            return status
        raise DeliveryFailed(f"status {status}", status=status, retry_after_s=answer.retry_after_s)

    def _try_kept(self, ctx: Context, kept: Connection, request: bytes) -> _Answer | None:
        """The answer; None where the connection was closed in the moment it was used: that says nothing of the target."""
        try:
            return self._exchange(ctx, kept, request)
        except (ConnectionError, _NoAnswer):
            ctx.check()
            return None

    def _exchange(self, ctx: Context, connection: Connection, request: bytes) -> _Answer:
        """Send the request, read the answer; the connection is kept where it may be, or closed."""
        sock, is_reusable = connection.sock, False
        # the call on the base class shuts the connection and leaves the TLS of another thread alone
        forget = ctx.on_done(lambda: _shut(sock))
        try:
            _write(ctx, sock, request)
            answer = _read_answer(ctx, sock)
            is_reusable = answer.is_reusable
        finally:
            forget()
            if is_reusable and ctx.error() is None:
                self.connections.give_back(connection)
            else:
                sock.close()
        return answer

    def _connect(self, ctx: Context, target: Target) -> socket.socket:
        """A connection to an address that is allowed, with TLS where the target wants it. Raises OSError, DeliveryFailed."""
        found = self._find_addresses(ctx, target)
        if not all(self._addresses.allow(address) for address in found):
            raise DeliveryFailed("the host has an address that is not allowed")
        tried = found[:MOST_ADDRESSES]
        for number, address in enumerate(tried):
            sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
            try:
                sock.settimeout(_left(ctx) / (len(tried) - number))
                sock.connect((address, target.port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if target.scheme != "https":
                    return sock
                sock.settimeout(_left(ctx))
                return self._tls.wrap_socket(sock, server_hostname=target.host)
            except BaseException as error:
                sock.close()
                if number == len(tried) - 1 or not isinstance(error, OSError) or isinstance(error, ssl.SSLError):
                    raise
        raise DeliveryFailed("the host has no address")

    def _find_addresses(self, ctx: Context, target: Target) -> Sequence[str]:
        if ":" in target.host or target.host.replace(".", "").isdecimal():
            return [target.host]
        try:
            return self._lookups.find(ctx, target.host, target.port)
        except (OSError, UnicodeError):
            raise DeliveryFailed("the host's name cannot be looked up") from None


def _request(target: Target, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {target.authority}",
        f"User-Agent: ledgerd/{__version__}",
        "Accept: */*",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


def _write(ctx: Context, sock: socket.socket, data: bytes) -> None:
    """All of it. A receiver may answer and close before it has read all: then the answer counts, if there is one."""
    view = memoryview(data)
    try:
        while view:
            sock.settimeout(_left(ctx))
            view = view[sock.send(view) :]
    except (BrokenPipeError, ConnectionResetError):
        return


def _read_answer(ctx: Context, sock: socket.socket) -> _Answer:
    """One with a status. Raises OSError, DeliveryFailed or httptools' errors where there is no whole one."""
    answer = _Answer()
    taken = 0
    while not answer.is_enough:
        sock.settimeout(_left(ctx))
        data = sock.recv(_READ)
        if not data:
            answer.end()
            return answer
        taken += len(data)
        answer.take(data)
        if answer.status is None and taken > MOST_HEAD:
            raise DeliveryFailed(f"the head of the answer is longer than {MOST_HEAD} bytes")
    return answer


class _Answer:
    """What is read of an answer: the parser calls `on_…`."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after_s = 0.0
        self.is_enough = False
        self.is_reusable = False
        self._has_length = False
        self._body = 0
        self._parser = httptools.HttpResponseParser(self)

    def take(self, data: bytes) -> None:
        """Raises httptools' errors for what is no HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.status, self.is_enough = 101, True
        except httptools.HttpParserError:
            if not self.is_enough:
                raise
            self.is_reusable = False  # what follows the answer is nobody's business, and nobody shall take it for the next

    def end(self) -> None:
        """The connection has ended. Raises DeliveryFailed unless the end is that of the answer."""
        if self.status is None:
            raise _NoAnswer("the connection was closed without an answer")
        if self._has_length and not self.is_enough:
            raise DeliveryFailed("the answer broke off")
        self.is_reusable = False

    def on_message_begin(self) -> None:
        self.is_reusable = False  # the first; or what follows the answer unasked

    def on_header(self, name: bytes, value: bytes) -> None:
        known = name.lower()
        if known in (b"content-length", b"transfer-encoding"):
            self._has_length = True
        elif known == b"retry-after" and value.isdigit() and len(value) < 10:  # a date instead is passed over
            self.retry_after_s = float(value)

    def on_headers_complete(self) -> None:
        if not self.is_enough and (status := self._parser.get_status_code()) >= 200:
            self.status = status

    def on_body(self, data: bytes) -> None:
        self._body += len(data)
        if self._body >= MOST_BODY:
            self.is_enough = True

    def on_message_complete(self) -> None:
        if self.is_enough:  # a second answer
            self.is_reusable = False
        elif self.status is not None:
            self.is_enough, self.is_reusable = True, self._parser.should_keep_alive()
        else:  # it was one of 1xx, and another follows
            self._has_length = False


def _left(ctx: Context) -> float:
    """What is left of the time, in seconds. Raises the error of `ctx`; never 0, which sockets take for not to wait at all."""
    ctx.check()
    left = ctx.remaining()
    assert left is not None, "checked in `send`"
    return max(left, 0.001)


def _shut(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:  # it is closed
        return


def _failure(ctx: Context, error: Exception) -> Exception:
    """What to raise for `error`."""
    end = ctx.error()
    if end is not None and not isinstance(end, DeadlineExceeded):  # it was cancelled
        return end.again()
    if isinstance(error, DeliveryFailed) and end is None:
        return error
    return DeliveryFailed("timed out" if end is not None else _problem(error))


def _problem(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"[:200]
    for kind, problem in (
        (TimeoutError, "timed out"), (ssl.SSLError, "TLS failed"), (httptools.HttpParserError, "the answer is not HTTP"),
        (ConnectionRefusedError, "the connection was refused"), (OSError, "the connection failed"),
    ):
        if isinstance(error, kind):
            return problem
    return "it could not be sent"
