"""A steady load: so many requests a second, at fixed times, half on kept connections and half on new ones, none repeated.

Two things are measured: the longest a request took, which is the longest stall, and how late its answer was against the time
that the request was due, which shows a stall in every request that it held up (and a machine that is too slow for the load).
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

CLIENTS = 40
TIMEOUT_S = 30
ON_TIME_S = 0.1
SETTLE_S = 5  # a machine that is busy with other work may never be on time


@dataclass
class Seen:
    """What the clients saw."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    transfers: dict[str, int] = field(default_factory=dict)  # by key, the id that was told
    connections: int = 0
    longest_s: float = 0.0
    latest_s: float = 0.0

    def add(self, other: Seen) -> None:
        """Take another client's count in."""
        self.answered += other.answered
        self.failed += other.failed
        self.transfers |= other.transfers
        self.connections += other.connections
        self.longest_s = max(self.longest_s, other.longest_s)
        self.latest_s = max(self.latest_s, other.latest_s)


class Load:
    """Runs in a `with` block; `seen` is whole after it."""

    def __init__(self, port: int, token: str, accounts: list[int], rate: float, name: str) -> None:
        self.seen = Seen()
        self._target = (port, token, accounts)
        self._every_s = CLIENTS / rate
        self._name = name
        self._stop = threading.Event()
        self._parts = [Seen() for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        self._late_s = [0.0] * CLIENTS
        self._began = 0.0
        self.duration_s = 0.0

    def __enter__(self) -> Load:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S + 5)
        self.duration_s = time.monotonic() - self._began
        for part in self._parts:
            self.seen.add(part)

    def settle(self) -> None:
        """Return when every client is on time again, so that each disturbance is measured by itself; or after SETTLE_S."""
        end = time.monotonic() + SETTLE_S
        while max(self._late_s) > ON_TIME_S and time.monotonic() < end:
            self._stop.wait(ON_TIME_S)

    def __str__(self) -> str:
        seen = self.seen
        return (
            f"{seen.answered} requests in {self.duration_s:.0f} s ({seen.answered / self.duration_s:.0f}/s) on"
            f" {seen.connections} connections, {len(seen.transfers)} transfers, {len(seen.failed)} failed,"
            f" longest {seen.longest_s * 1000:.0f} ms, latest {seen.latest_s * 1000:.0f} ms"
        )

    def _run(self, number: int) -> None:
        port, token, accounts = self._target
        seen, count = self._parts[number], 0
        client = Client(port, token, kept=number % 2 == 0, seen=seen)
        due = self._began + self._every_s * number / CLIENTS
        while not self._stop.wait(max(due - time.monotonic(), 0)):
            count += 1
            key = f"{self._name}-{number}-{count}"
            if count % 2:
                source, target = accounts[count % len(accounts)], accounts[(count + 1) % len(accounts)]
                client.post(key, {"from_account_id": source, "to_account_id": target, "amount": 1})
            else:
                client.get(f"/api/accounts/{accounts[count % len(accounts)]}/balance")
            self._late_s[number] = time.monotonic() - due
            seen.latest_s = max(seen.latest_s, self._late_s[number])
            due += self._every_s
        client.close()


class Client:
    """One that never repeats a request. When it finds its connection closed it opens a new one, as HTTP wants it."""

    def __init__(self, port: int, token: str, *, kept: bool, seen: Seen) -> None:
        self._port = port
        self._kept = kept
        self._seen = seen
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str) -> None:
        """A read."""
        self._send("GET", path, None, {})

    def post(self, key: str, body: dict[str, int]) -> None:
        """A transfer; its id is kept when it is acknowledged."""
        answer = self._send("POST", "/api/transfers", body, {"Idempotency-Key": key})
        if answer is not None:
            self._seen.transfers[key] = json.loads(answer)["id"]

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, method: str, path: str, body: dict[str, int] | None, headers: dict[str, str]) -> bytes | None:
        named = self._headers | headers | ({} if self._kept else {"Connection": "close"})
        began = time.monotonic()
        try:
            connection = self._open()
            connection.request(method, path, None if body is None else json.dumps(body), named)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as exc:
            self._seen.failed.append(f"{stamp()} {method} {path} ({'kept' if self._kept else 'new'}): {exc!r}")
            self.close()
            return None
        self._seen.longest_s = max(self._seen.longest_s, time.monotonic() - began)
        if not self._kept or connection.sock is None:
            self.close()
        if answer.status not in (200, 201):
            self._seen.failed.append(f"{stamp()} {method} {path}: {answer.status} {text.decode()}")
            return None
        self._seen.answered += 1
        return text

    def _open(self) -> http.client.HTTPConnection:
        if self._connection is not None and closed_by_server(self._connection.sock):
            self.close()
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
            self._connection.connect()
            self._seen.connections += 1
        return self._connection


def stamp() -> str:
    """The time of day, to find the moment in a journal."""
    return datetime.now(UTC).strftime("%H:%M:%S.%f")[:-3]


def closed_by_server(sock: socket.socket) -> bool:
    """Whether the end of the connection has arrived: nothing else can be readable between two requests."""
    return bool(select.select([sock], [], [], 0)[0])
