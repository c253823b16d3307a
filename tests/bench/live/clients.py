"""A process of many clients of live events, half of them over Server-Sent Events, half over WebSockets, on one epoll.

Each client begins after a known event and notes, for each event that comes, whether its id is above the last one; how many
came, and the sum of their ids, tell in the end whether one was left out. One that is cut off comes back after a moment with
its last id. A share of the clients is stalled: they read nothing until the end, come back where they are let go, and read
then.
"""

from __future__ import annotations

import os
import re
import select
import socket
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.connection import Connection
from random import Random
from typing import Any

from tests.websocket import CLOSE, PING, PONG, frame

RECEIVE = 256 * 1024
LONGEST_PAUSE_S = 1.0  # before a client comes back, at random: as docs/api.md tells clients to
STALLED_BUFFER = 16 * 1024
_SSE = re.compile(rb"id: (\d+)\nevent: [a-z.]+\n")
_WS = re.compile(rb'\{"id":(\d+),"type":"')
_AT = re.compile(rb'"created_at":"([0-9T:.-]+)Z"')
_LAST_WORD = re.compile(rb"event: (draining|dropped)\ndata: \{\"reason\":\"([a-z]+)\"")


@dataclass
class Figures:
    """What the clients of a process have seen; delays in seconds, of the oldest event of each receipt, by second."""

    delays: list[tuple[float, float]] = field(default_factory=list)  # when (wall clock), and how late
    endings: Counter[str] = field(default_factory=Counter)
    events: int = 0
    duplicates: int = 0
    resumed: int = 0
    resumed_at: float = 0.0  # the last time that one came back that reads
    refused: Counter[int] = field(default_factory=Counter)


class Client:
    """One client; `over` is "sse" or "ws"."""

    __slots__ = (
        "account_id",
        "buffer",
        "count",
        "due",
        "fd",
        "is_open",
        "last_id",
        "over",
        "reads",
        "sock",
        "stalled",
        "start",
        "total",
    )

    def __init__(self, over: str, start: int, account_id: int, *, stalled: bool, due: float) -> None:
        self.over = over
        self.account_id = account_id  # the one that it listens to; 0 for all
        self.start = self.last_id = start
        self.stalled = stalled  # of those that do not read until the end
        self.reads = not stalled
        self.due = due  # when to connect
        self.sock: socket.socket | None = None
        self.fd = -1
        self.is_open = False  # the head of the answer has come
        self.buffer = b""
        self.count = self.total = 0


class Clients:
    """All clients of this process."""

    def __init__(
        self, port: int, key: str, number: int, start: int, stalled: float, ramp_s: float, accounts: Sequence[int], seed: int
    ) -> None:
        self._port = port
        self._key = key
        self._chance = Random(seed)
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        now = time.monotonic()
        every = round(1 / stalled) if stalled else number
        self.all = [
            Client(
                ("sse", "ws")[n % 2], start, accounts[n % len(accounts)] if accounts else 0,
                stalled=bool(stalled) and n // 2 % every == 0, due=now + ramp_s * n / number,
            )
            for n in range(number)
        ]
        self.figures = Figures()

    def turn(self, timeout_s: float = 0.05) -> None:
        """Connect those that are due, and read what has come."""
        now = time.monotonic()
        for client in self.all:
            if client.sock is None and client.due <= now:
                self._connect(client)
        for fd, mask in self._epoll.poll(timeout_s, 512):
            client = self._by_fd.get(fd)
            if client is None:
                continue
            if not client.is_open and mask & select.EPOLLOUT:
                self._ask(client)
            elif mask & select.EPOLLIN and (client.reads or not client.is_open):
                self._read(client)
            elif mask & (select.EPOLLHUP | select.EPOLLERR | select.EPOLLRDHUP):
                self._lose(client, "cut off")

    def open(self) -> int:
        """How many are told of events now."""
        return sum(client.is_open for client in self.all)

    def wake(self) -> None:
        """Those that were stalled read from now on."""
        for client in self.all:
            if not client.reads:
                client.reads = True
                if client.sock is not None and client.is_open:
                    self._epoll.modify(client.fd, select.EPOLLIN | select.EPOLLRDHUP)

    def close(self) -> None:
        """Leave."""
        for client in self.all:
            if client.sock is not None:
                client.sock.close()
        self._epoll.close()

    def _connect(self, client: Client) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        if client.stalled:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
        sock.connect_ex(("127.0.0.1", self._port))
        client.sock, client.fd, client.is_open, client.buffer = sock, sock.fileno(), False, b""
        self._by_fd[client.fd] = client
        self._epoll.register(client.fd, select.EPOLLOUT | select.EPOLLRDHUP)

    def _ask(self, client: Client) -> None:
        assert client.sock is not None
        head = f"Host: a\r\nAuthorization: Bearer {self._key}\r\nLast-Event-ID: {client.last_id}\r\n"
        query = f"?account_id={client.account_id}" if client.account_id else ""
        if client.over == "sse":
            head = f"GET /api/events{query} HTTP/1.1\r\n{head}\r\n"
        else:
            key = b64encode(os.urandom(16)).decode()
            head = (
                f"GET /api/events/ws{query} HTTP/1.1\r\n{head}Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            )
        try:
            client.sock.send(head.encode())
        except OSError:
            self._lose(client, "not there")
            return
        self._epoll.modify(client.fd, select.EPOLLIN | select.EPOLLRDHUP)

    def _read(self, client: Client) -> None:
        assert client.sock is not None
        try:
            data = client.sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose(client, "cut off")
            return
        client.buffer += data
        if not client.is_open and not self._begin(client):
            return
        if client.over == "sse":
            self._take_messages(client)
        else:
            self._take_frames(client)

    def _begin(self, client: Client) -> bool:
        head, found, rest = client.buffer.partition(b"\r\n\r\n")
        if not found:
            return False
        status = int(head[9:12])
        if status not in (200, 101):
            self.figures.refused[status] += 1
            self._lose(client, f"answered {status}")
            return False
        client.is_open, client.buffer = True, rest
        if client.last_id != client.start or client.count:
            self.figures.resumed += 1
            if not client.stalled:
                self.figures.resumed_at = time.time()
        if not client.reads:
            self._epoll.modify(client.fd, select.EPOLLRDHUP)
        return True

    def _take_messages(self, client: Client) -> None:
        end = client.buffer.rfind(b"\n\n")
        if end < 0:
            return
        whole, client.buffer = client.buffer[: end + 2], client.buffer[end + 2 :]
        self._note(client, [int(found) for found in _SSE.findall(whole)], whole)
        if b"event: dr" in whole and (word := _LAST_WORD.search(whole)) is not None:
            self._lose(client, word[2].decode())

    def _take_frames(self, client: Client) -> None:
        buffer, place, ids = client.buffer, 0, []
        while len(buffer) - place >= 2:  # a ping has no more
            length, begin = buffer[place + 1], place + 2
            if length == 126:
                if len(buffer) - place < 4:
                    break
                length, begin = int.from_bytes(buffer[place + 2 : place + 4], "big"), place + 4
            assert length < 127 or begin == place + 4, "longer than any event of this bench"
            if len(buffer) < begin + length:
                break
            opcode = buffer[place] & 15
            place_now, place = place, begin + length
            if opcode == 1:
                found = _WS.match(buffer, begin)
                assert found is not None, buffer[begin : begin + 80]
                ids.append(int(found[1]))
            elif opcode == PING:
                self._send(client, frame(PONG, buffer[begin:place]))
            elif opcode == CLOSE:
                code = int.from_bytes(buffer[begin : begin + 2], "big")
                self._note(client, ids, buffer[:place_now])
                self._send(client, frame(CLOSE, buffer[begin:place]))
                self._lose(client, {1001: "draining", 1013: "slow"}.get(code, str(code)))
                return
        client.buffer = buffer[place:]
        self._note(client, ids, buffer[:place])

    def _note(self, client: Client, ids: list[int], whole: bytes) -> None:
        if not ids:
            return
        last = client.last_id
        for event_id in ids:
            if event_id <= last:
                self.figures.duplicates += 1
            last = event_id
        client.last_id = last
        client.count += len(ids)
        client.total += sum(ids)
        self.figures.events += len(ids)
        if (at := _AT.search(whole)) is not None and not client.stalled:
            now = time.time()
            self.figures.delays.append((now, now - datetime.fromisoformat(at[1].decode() + "+00:00").timestamp()))

    def _send(self, client: Client, data: bytes) -> None:
        assert client.sock is not None
        with suppress(OSError):  # it is noticed where it is read
            client.sock.send(data)

    def _lose(self, client: Client, why: str) -> None:
        assert client.sock is not None
        self.figures.endings[why] += 1
        self._epoll.unregister(client.fd)
        del self._by_fd[client.fd]
        client.sock.close()
        client.sock, client.is_open = None, False
        client.due = time.monotonic() + self._chance.uniform(0.05, LONGEST_PAUSE_S)


def main(pipe: Connection, options: dict[str, Any]) -> None:
    """The process: runs until it is told the last ids, by account, and then until all clients are there or time is up."""
    clients = Clients(**options)
    last_ids: dict[int, int] | None = None
    end = 0.0
    try:
        while last_ids is None or (
            time.monotonic() < end and any(client.last_id < last_ids[client.account_id] for client in clients.all)
        ):
            clients.turn()
            if pipe.poll():
                word, value = pipe.recv()
                if word == "open":
                    pipe.send(clients.open())
                elif word == "events":
                    pipe.send(clients.figures.events)
                else:
                    last_ids, end = value
                    end += time.monotonic()
                    clients.wake()
        pipe.send((clients.figures, [(c.account_id, c.start, c.last_id, c.count, c.total) for c in clients.all]))
    finally:
        clients.close()
