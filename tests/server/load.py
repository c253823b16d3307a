"""Clients that notice every request which is not answered: some keep their connection, some open one for each request."""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import threading
from dataclasses import dataclass, field
from typing import Any

ANSWER_S = 30


@dataclass
class Load:
    """Transfers from a number of clients in a `with` block: a connection that came about must be answered."""

    port: int
    key: str
    accounts: list[int]
    keeping: int = 4
    opening: int = 4
    posted: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._end, self._lock = threading.Event(), threading.Lock()
        kinds = [True] * self.keeping + [False] * self.opening
        self._threads = [threading.Thread(target=self._run, args=(keep,)) for keep in kinds]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(2 * ANSWER_S)
        assert not any(thread.is_alive() for thread in self._threads)

    def _run(self, keep: bool) -> None:
        connection: socket.socket | None = None
        for number in itertools.count():
            if self._end.is_set():
                break
            if connection is None:
                try:
                    connection = socket.create_connection(("127.0.0.1", self.port), ANSWER_S)
                except ConnectionRefusedError:
                    self.refused += 1
                    self._end.wait(0.02)
                    continue
            try:
                goes_on = self._post(connection, keep)
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self.failures.append(f"request {number} ({'kept' if keep else 'new'} connection): {error!r}")
                goes_on = False
            if not goes_on:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _post(self, connection: socket.socket, keep: bool) -> bool:
        status, closes = exchange(connection, "POST", "/api/transfers", self.key, {
            "from_account_id": self.accounts[0], "to_account_id": self.accounts[1], "amount": 1,
        })
        with self._lock:
            self.posted += status == 201
            if status != 201:
                self.failures.append(f"status {status}")
        return keep and not closes


def send(connection: socket.socket, method: str, path: str, key: str = "", body: object = None) -> None:
    """One request."""
    content = json.dumps(body).encode() if body is not None else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(content)}\r\n"
    head += f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n\r\n"
    connection.sendall(head.encode() + content)


def receive(connection: socket.socket) -> tuple[int, bool]:
    """The status of its answer, and whether the server says that the connection ends. Raises OSError or HTTPException."""
    answer = http.client.HTTPResponse(connection)
    try:
        answer.begin()
        answer.read()
        return answer.status, answer.will_close
    finally:
        answer.close()


def exchange(connection: socket.socket, method: str, path: str, key: str = "", body: object = None) -> tuple[int, bool]:
    """Both."""
    send(connection, method, path, key, body)
    return receive(connection)
