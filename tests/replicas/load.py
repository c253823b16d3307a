"""Paced reads over HTTP, and writes whose positions other connections bring: how long reads took, and what was stale."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.client import HttpClient, Reply

READERS, WRITERS = 12, 2
WRITES = 20  # a second, of all writers together
ANSWER_S = 30


@dataclass
class Seen:
    """What the clients saw."""

    took_s: list[float] = field(default_factory=list)  # of each read, from sending it to its answer
    writes: int = 0
    stale: int = 0  # reads that brought the position of a write and did not show it
    failed: list[str] = field(default_factory=list)


class ReadLoad:
    """Runs in a `with` block; `seen` is whole after it.

    `reads` a second of pages of statements and of lists, and beside them WRITES a second, each with a read that must see it,
    in a ledger whose `accounts` have ids from 1 on and may be debited.
    """

    def __init__(self, port: int, key: str, accounts: int, *, reads: float) -> None:
        self.seen = Seen()
        self._server = port, key
        self._accounts = accounts
        self._stop = threading.Event()
        self._lock = threading.Lock()  # of seen
        self._errors: list[BaseException] = []
        parts = [(self._read, READERS / reads)] * READERS + [(self._write_and_read, WRITERS / WRITES)] * WRITERS
        self._threads = [threading.Thread(target=self._run, args=(seed, *part)) for seed, part in enumerate(parts)]

    def __enter__(self) -> ReadLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(3 * ANSWER_S)
        assert not any(thread.is_alive() for thread in self._threads)
        assert self._errors == []

    def _run(self, seed: int, step: Callable[[random.Random, list[HttpClient]], None], period_s: float) -> None:
        choice = random.Random(seed)
        clients = [HttpClient(*self._server, timeout_s=ANSWER_S) for _ in range(2)]
        due = time.monotonic() + period_s * choice.random()
        try:
            while not self._stop.wait(max(due - time.monotonic(), 0.0)):
                due = max(due + period_s, time.monotonic() - period_s)  # what was missed is not made up for
                step(choice, clients)
        except BaseException as exc:  # noqa: BLE001  # a thread has nobody to tell: they are looked at in the end
            self._errors.append(exc)
        finally:
            for client in clients:
                client.close()

    def _read(self, choice: random.Random, clients: list[HttpClient]) -> None:
        account = choice.randint(1, self._accounts)
        path = f"/api/accounts/{account}/entries" if choice.random() < 0.5 else f"/api/transfers?account_id={account}"
        self._timed(clients[0], path)

    def _write_and_read(self, choice: random.Random, clients: list[HttpClient]) -> None:
        """The other connection is another worker's as often as not."""
        source, target = choice.sample(range(1, self._accounts + 1), 2)
        posted = self._call(
            clients[0], "POST", "/api/transfers", {"from_account_id": source, "to_account_id": target, "amount": 1}
        )
        if posted is None:
            return
        reply = self._timed(
            clients[1], f"/api/accounts/{target}/entries?limit=1", Ledger_Position=posted.headers["Ledger-Position"]
        )
        with self._lock:
            self.seen.writes += 1
            if reply is not None:
                self.seen.stale += reply.json["data"][0]["version"] < posted.json["to_version"]

    def _timed(self, client: HttpClient, path: str, **headers: str) -> Reply | None:
        began = time.monotonic()
        reply = self._call(client, "GET", path, None, **headers)
        with self._lock:
            self.seen.took_s.append(time.monotonic() - began)
        return reply

    def _call(self, client: HttpClient, method: str, path: str, body: Any, **headers: str) -> Reply | None:
        """The answer; None where it is no good one, which is noted."""
        try:
            reply = client.call(method, path, body, **headers)
            told = "" if reply.status in (200, 201) else f"{reply.status} {reply.body.decode()}"
        except (OSError, http.client.HTTPException) as exc:
            told = repr(exc)
        if told:
            with self._lock:
                self.seen.failed.append(f"{method} {path}: {told}")
            return None
        return reply
