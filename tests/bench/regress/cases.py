"""The hot paths as requests over HTTP, the same for both sides, and what processor time they took."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psycopg

from tests.client import HttpClient
from tests.serving import Serve

ACCOUNTS = 100
IN_BULK = 500


def processor_ns(pid: int) -> int:
    """The processor time of a process with all its threads, to the nanosecond; clock_getcpuclockid(3) makes this number."""
    return time.clock_gettime_ns((~pid << 3) | 2)


@dataclass
class Side:
    """One of the two: a server with one worker, and what it posts with."""

    name: str
    served: Serve
    key: str
    database_url: str
    worker: int = 0
    user: int = 0
    accounts: list[int] = field(default_factory=list)
    sent: int = 0

    def __post_init__(self) -> None:
        self.client = HttpClient(self.served.port, self.key)
        (self.worker,) = self.served.workers()
        self.user = self._made("/api/users", {"name": "Ada", "email": f"ada{os.urandom(4).hex()}@example.com"})
        self.accounts = [self._made("/api/accounts", {"asset": "USD/2", "min_balance": None}) for _ in range(ACCOUNTS)]

    def _made(self, path: str, body: object) -> int:
        reply = self.client.call("POST", path, body)
        assert reply.status == 201, reply.body
        return int(reply.json["id"])

    def transfer(self) -> dict[str, int]:
        """The next one: both sides go through the accounts in the same order."""
        self.sent += 1
        source = self.sent % ACCOUNTS
        target = (source + 1 + self.sent % (ACCOUNTS - 1)) % ACCOUNTS
        return {"from_account_id": self.accounts[source], "to_account_id": self.accounts[target], "amount": 5}

    def backends(self) -> list[int]:
        """The processes that work for it in PostgreSQL."""
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            found = conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        return [row[0] for row in found]


def _read(side: Side, path: str, **headers: str) -> None:
    reply = side.client.call("GET", path, **headers)
    assert reply.status == 200, reply.body


def _transfer(side: Side) -> None:
    key = f"{side.name}-{side.worker}-{side.sent}"
    reply = side.client.call("POST", "/api/transfers", side.transfer(), Idempotency_Key=key)
    assert reply.status == 201, reply.body


def _bulk(side: Side) -> None:
    reply = side.client.call("POST", "/api/transfers/bulk", {"transfers": [side.transfer() for _ in range(IN_BULK)]})
    assert reply.status == 200, reply.body
    assert json.loads(reply.body)["posted"] == IN_BULK


@dataclass(frozen=True)
class Case:
    """A request, and how often it is sent to each side in a round."""

    what: str
    number: int
    send: Callable[[Side], None]


CASES = (
    Case("read a kept user", 40, lambda side: _read(side, f"/api/users/{side.user}")),
    Case("read a user through every layer", 15, lambda side: _read(side, f"/api/users/{side.user}", Cache_Control="no-cache")),
    Case("post a transfer with a key", 15, _transfer),
    Case(f"post {IN_BULK} in bulk", 2, _bulk),
    Case("read a balance", 15, lambda side: _read(side, f"/api/accounts/{side.accounts[0]}/balance")),
    Case("read a page of a statement", 10, lambda side: _read(side, f"/api/accounts/{side.accounts[0]}/entries?limit=50")),
)


def measure(case: Case, side: Side, backends: Iterable[int]) -> tuple[float, float]:
    """Microseconds of processor time of one request: the worker's, and that of PostgreSQL's processes for it."""
    worker, database = processor_ns(side.worker), sum(map(processor_ns, backends))
    case.send(side)
    return (processor_ns(side.worker) - worker) / 1000, (sum(map(processor_ns, backends)) - database) / 1000
