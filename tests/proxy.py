"""A proxy between ledgerd and PostgreSQL: it adds latency, and cuts a connection instead of delivering the answer to a batch.

It reads just enough of the protocol (PostgreSQL's documentation, "Frontend/Backend Protocol"): messages are a type, a length
and a content; Parse names a statement, Bind executes it, and ReadyForQuery ends the answer, after the commit.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit

BATCH = b"post_transfers("
CHUNK = 65_536
PATIENCE_S = 10.0


class Cut(Enum):
    """Where a connection is cut in the posting of a batch."""

    BEFORE = "before the statement reached the server"
    SENT = "as soon as the statement was sent"
    ANSWER = "after the commit, and nothing of the answer came through"
    TORN = "after the commit, and all of the answer but its end came through"


class _Closed(Exception):
    """The link is at its end; `last` is still delivered."""

    def __init__(self, last: bytes = b"") -> None:
        super().__init__()
        self.last = last


class Proxy:
    """Listens on a port of loopback and connects to the Unix socket of `database_url`; use it in a `with` statement.

    `latency_s` is added each way. While it is `refusing`, new connections are closed at once; while it is `mute`, they can log
    in and then get no answer. While it is `deaf`, it drops notifications, as a pooler in transaction mode does.
    """

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        self._target = parse_qs(parts.query)["host"][0] + "/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://ledgerd@127.0.0.1:{port}{parts.path}?sslmode=disable&gssencmode=disable"
        self.latency_s = 0.0
        self.refusing = False
        self.mute = False
        self.deaf = False
        self.cuts: Counter[Cut] = Counter()
        self._armed: Cut | None = None
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._thread = threading.Thread(target=self._accept)

    def arm(self, cut: Cut) -> None:
        """Cut the next batch."""
        with self._lock:
            self._armed = cut

    @property
    def armed(self) -> bool:
        """Whether the next batch is to be cut."""
        return self._armed is not None

    def freeze(self) -> None:
        """Let the connections that there are look alive, and forward nothing on them any more; new ones work."""
        with self._lock:
            for link in self._links:
                link.frozen = True

    def freeze_listeners(self) -> int:
        """The same for those that wait for notifications; tells how many those are."""
        with self._lock:
            listening = [link for link in self._links if link.listens]
            for link in listening:
                link.frozen = True
            return len(listening)

    def cut_all(self) -> None:
        """Close every connection."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.close()

    def take(self, *cuts: Cut) -> Cut | None:
        """For a link: the cut that is armed, if it is one of `cuts`; that it is now done."""
        with self._lock:
            if self._armed not in cuts:
                return None
            cut, self._armed = self._armed, None
            self.cuts[cut] += 1
            return cut

    def forget(self, link: _Link) -> None:
        """For a link: it is at its end."""
        with self._lock:
            self._links.discard(link)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = socket.socket(socket.AF_UNIX)
            try:
                if self.refusing:
                    raise ConnectionRefusedError
                server.connect(self._target)
            except OSError:
                client.close()
                server.close()
                continue
            link = _Link(self, client, server)
            with self._lock:
                self._links.add(link)
            link.start()

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_S)
        self.cut_all()
        assert not self._thread.is_alive()


class _Link:
    """One connection, with a thread each way."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.frozen = False
        self.listens = False  # it is a listener's, by the name that it gives itself
        self._proxy, self._client, self._server = proxy, client, server
        self._statements: set[bytes] = set()  # the names under which the batch statement was prepared
        self._posting = False
        self._silent = False
        self._up = _Messages(startup=True)
        self._down = _Messages(startup=False)
        self._answer: list[bytes] = []
        self._threads = [
            threading.Thread(target=self._pump, args=(client, server, self._from_client)),
            threading.Thread(target=self._pump, args=(server, client, self._from_server)),
        ]

    def start(self) -> None:
        """Forward until either side closes."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Close both sides and wait for the threads."""
        self._shut()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _pump(self, source: socket.socket, sink: socket.socket, read: Callable[[bytes], Iterator[bytes]]) -> None:
        due: deque[tuple[float, bytes]] = deque()
        poll = select.poll()
        poll.register(source, select.POLLIN)
        with contextlib.suppress(OSError):
            while True:
                pause_s = max(due[0][0] - time.monotonic(), 0.0) if due else None
                if poll.poll(None if pause_s is None else pause_s * 1000):
                    try:
                        self._take_in(source, read, due)
                    except _Closed as closed:
                        sink.sendall(b"".join([*(chunk for _, chunk in due), closed.last]))
                        break
                while due and due[0][0] <= time.monotonic():
                    chunk = due.popleft()[1]
                    if not self.frozen:
                        sink.sendall(chunk)
                self.frozen = self.frozen or (self._silent and source is self._server)
        self._shut()
        self._proxy.forget(self)

    def _take_in(
        self, source: socket.socket, read: Callable[[bytes], Iterator[bytes]], due: deque[tuple[float, bytes]]
    ) -> None:
        data = source.recv(CHUNK)
        if not data:
            raise _Closed
        for chunk in read(data):
            due.append((time.monotonic() + self._proxy.latency_s, chunk))

    def _from_client(self, data: bytes) -> Iterator[bytes]:
        out = []
        for kind, message in self._up.read(data):
            if kind == b"":
                self.listens = b"ledgerd listener" in message
            elif kind == b"P":
                name, query = message[5:].split(b"\0", 2)[:2]
                if BATCH in query:
                    self._statements.add(name)
            elif kind == b"B" and message[5:].split(b"\0", 2)[1] in self._statements:
                if self._proxy.take(Cut.BEFORE):
                    raise _Closed
                self._posting = True
            elif kind == b"S" and self._posting and self._proxy.take(Cut.SENT):
                self._server.sendall(b"".join([*out, message]))
                raise _Closed
            out.append(message)
        yield b"".join(out)

    def _from_server(self, data: bytes) -> Iterator[bytes]:
        for kind, message in self._down.read(data):
            if kind == b"A" and self._proxy.deaf:
                continue
            self._answer.append(message)
            if kind == b"E":
                self._posting = False  # nothing was committed
            if kind == b"Z" or not self._posting:
                if self._posting and (cut := self._proxy.take(Cut.ANSWER, Cut.TORN)):
                    raise _Closed(b"".join(self._answer[:-1]) if cut is Cut.TORN else b"")
                self._posting = self._posting and kind != b"Z"
                yield b"".join(self._answer)
                self._answer.clear()
                self._silent = self._proxy.mute and kind == b"Z"

    def _shut(self) -> None:
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is self._threads[0]:  # the other one may still look at them
            self._threads[1].join(PATIENCE_S)
            self._client.close()
            self._server.close()


class _Messages:
    """Parts a stream into messages. The first of a client, its startup, has no type."""

    def __init__(self, *, startup: bool) -> None:
        self._startup = startup
        self._rest = b""

    def read(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Each message that is complete now: its type and all of it."""
        self._rest += data
        while len(self._rest) >= (head := 4 if self._startup else 5):
            size = head - 4 + int.from_bytes(self._rest[head - 4 : head])
            if len(self._rest) < size:
                return
            message, self._rest = self._rest[:size], self._rest[size:]
            kind = b"" if self._startup else message[:1]
            self._startup = False
            yield kind, message
