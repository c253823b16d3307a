"""Thousands of requests that end before their time, on one application in one process; and what is left of them: nothing.

    python -m tests.chaos.cancellations DATABASE_URL KEY NUMBER     the same in a process that gevent has patched

Statements are slow because another session holds locks: on the table of users, and on one account.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()

import os
import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from service.app import Application
from service.concurrency.context import background
from service.config import Config
from tests.client import ApiClient
from tests.serving import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "cancellations"  # of the sessions at the server
CALLERS = 32
MOST_OPEN = 8
LONGEST_S = 0.05  # of a slow request
LANE_LONGEST_S = 0.3  # of a transfer that is not slow itself, but may be in a batch with one
OVERDUE_AFTER_S = LANE_LONGEST_S + 1.0
EXPECTED = {
    "read, deadline": {504},
    "read, client leaves": {499},
    "transfer, deadline": {504},
    "quick read": {200},
    "quick transfer": {201, 504},
}
WEIGHTS = (40, 25, 10, 15, 10)


@dataclass
class Left:
    """What `run` found: answers by kind of request and status, and what should all be zero or equal."""

    answers: dict[str, int] = field(default_factory=dict)
    overdue: int = 0  # statements that ran a second after the last deadline that they can have had
    running: int = 0  # statements at the server, when all requests had been answered
    descriptors: int = 0  # more than before, apart from the pool's connections
    threads: int = 0
    sessions: int = 0  # more or less than the connections of the pool
    lost_connections: int = 0  # those that the pool counts and nobody can get
    wrong: list[str] = field(default_factory=list)
    in_doubt: list[tuple[str, dict[str, int]]] = field(default_factory=list)  # keys of transfers, with their bodies
    posted: dict[str, int] = field(default_factory=dict)  # by key
    seconds: float = 0.0


class Run:
    """See the module."""

    def __init__(self, database_url: str, key: str, number: int) -> None:
        self.left = Left()
        self._url, self._key, self._number = database_url, key, number
        url = f"{database_url}&application_name={NAME}"
        self._run_dir = TemporaryDirectory(prefix="ledgerd-run-")
        folders = {"data_dir": Path("/nonexistent"), "run_dir": Path(self._run_dir.name)}
        config = Config(database_url=url, **folders, db_max_open=MOST_OPEN, db_min_idle=2)
        self._app = Application(config).open()
        self._numbers = count(1)
        self._counted: Counter[str] = Counter()

    def run(self) -> Left:
        """Send the requests, and look at what is left."""
        api = ApiClient(self._app, self._key)
        self._world, self._open, self._locked = (
            api.account(min_balance=None)["id"], api.account()["id"], api.account(min_balance=None)["id"],
        )
        with psycopg.connect(self._url, autocommit=True) as db:
            self._fill_pool()
            before = self._descriptors()
            threads = threading.active_count()
            began = time.monotonic()
            with psycopg.connect(self._url) as holder:
                holder.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
                holder.execute("SELECT FROM accounts WHERE id = %s FOR UPDATE", (self._locked,))
                self._send_all(db)
                self.left.seconds = time.monotonic() - began
                self.left.running = _eventually(lambda: _running(db), 1.0)
                holder.rollback()
            self.left.threads = _eventually(lambda: threading.active_count() - threads, 10)
            self._fill_pool()
            self.left.descriptors = _eventually(lambda: self._descriptors() - before, 10)
            size = self._app.database.pool.statistics()["pool_size"]
            self.left.sessions = _eventually(lambda: _sessions(db) - size, 10)
        self.left.answers = dict(self._counted)
        assert self._app.close(10) == []
        self._run_dir.cleanup()
        return self.left

    def _fill_pool(self) -> None:
        """Take every connection that the pool can have, all at once; those that cannot be got are lost."""
        with ExitStack() as stack:
            try:
                for _ in range(MOST_OPEN):
                    stack.enter_context(self._app.database.pool.connection(background()))
                    self.left.lost_connections = 0
            except Exception as error:  # noqa: BLE001  # told in the result
                self.left.lost_connections = MOST_OPEN
                self.left.wrong.append(f"a connection cannot be got: {error!r}, {self._app.database.pool.statistics()}")

    def _descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd")) - self._app.database.pool.statistics()["pool_size"]

    def _send_all(self, db: psycopg.Connection) -> None:
        callers = [threading.Thread(target=self._call_on, args=(seed,)) for seed in range(CALLERS)]
        for caller in callers:
            caller.start()
        while any(caller.is_alive() for caller in callers):
            self.left.overdue = max(self.left.overdue, _overdue(db))
            callers[0].join(0.1)
            for caller in callers:
                caller.join(0.01)

    def _call_on(self, seed: int) -> None:
        choice, api = random.Random(seed), ApiClient(self._app, self._key)
        try:
            while (number := next(self._numbers)) <= self._number:
                (kind,) = choice.choices(list(EXPECTED), WEIGHTS)
                status = self._call(kind, api, choice, f"c{number}")
                self._counted[f"{kind}: {status}"] += 1
                if status not in EXPECTED[kind]:
                    self.left.wrong.append(f"{kind}: {status}")
        except BaseException as error:  # noqa: BLE001  # told in the result
            self.left.wrong.append(repr(error))

    def _call(self, kind: str, api: ApiClient, choice: random.Random, key: str) -> int:
        time_s = choice.uniform(0.001, LONGEST_S)
        if kind == "read, deadline":
            return api.get("/api/users/1", Request_Timeout=f"{time_s:.6f}").status
        if kind == "read, client leaves":
            return api.call("GET", "/api/users/1", client_left=_leaving_after(time_s)).status
        if kind == "quick read":
            return api.get(f"/api/accounts/{self._open}").status
        slow = kind == "transfer, deadline"
        body = {"from_account_id": self._locked if slow else self._world, "to_account_id": self._open, "amount": 1}
        timeout_s = time_s if slow else LANE_LONGEST_S
        reply = api.post("/api/transfers", body, Idempotency_Key=key, Request_Timeout=f"{timeout_s:.6f}")
        if reply.status == 201:
            self.left.posted[key] = reply.json["id"]
        else:
            self.left.in_doubt.append((key, body))
        return reply.status


def _leaving_after(time_s: float) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """A server's hook, for a client that leaves after `time_s`."""

    def client_left(callback: Callable[[], None]) -> Callable[[], None]:
        timer = threading.Timer(time_s, callback)
        timer.start()
        return timer.cancel

    return client_left


_MINE = f"FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{NAME}'"


def _running(db: psycopg.Connection) -> int:
    return int(db.execute(f"SELECT count(*) {_MINE} AND state = 'active'").fetchone()[0])


def _overdue(db: psycopg.Connection) -> int:
    late = f"SELECT count(*) {_MINE} AND state = 'active' AND clock_timestamp() - query_start > %s * interval '1 second'"
    return int(db.execute(late, (OVERDUE_AFTER_S,)).fetchone()[0])


def _sessions(db: psycopg.Connection) -> int:
    return int(db.execute(f"SELECT count(*) {_MINE}").fetchone()[0])


def _eventually(number: Callable[[], int], within_s: float) -> int:
    """0 as soon as `number()` is, and what it is after `within_s` if that does not happen."""
    try:
        wait_until(lambda: number() == 0, within_s, every_s=0.01)
    except AssertionError:
        return number()
    return 0


if __name__ == "__main__":
    url, token, how_many = sys.argv[1:]
    print(json.dumps(asdict(Run(url, token, int(how_many)).run())))
