"""Clients at a steady pace while something breaks: what they were told, and whether the ledger agrees with it."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from tests.chaos.figures import Fault, Figures
from tests.client import HttpClient, Reply
from tests.invariants import check_invariants
from tests.serving import wait_until

RATE = 400  # requests a second, of all clients together
CLIENTS = 16
WITHOUT_KEY = 0.2  # the share of transfers that have no key
REQUEST_TIMEOUT_S = 2
PAUSE_S = 0.05  # before a client asks again
RESOLVE_WITHIN_S = 60.0
CERTAIN_REFUSALS = {"insufficient_funds"}
NOTHING_DONE = {"unavailable", "overloaded", "deadline_exceeded"}


@dataclass
class Told:
    """What the clients of a ledger know. Keys and references are never used twice, so several loads may share it."""

    posted: dict[str, int] = field(default_factory=dict)  # by key, or by the reference of a transfer without one
    not_posted: set[str] = field(default_factory=set)
    refused_keys: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)  # references only: a key is asked for until its outcome is known
    funding: int = 0  # transfers that were posted to begin with
    loads: int = 0

    def check(self, database_url: str) -> int:
        """Assert that the books balance and hold what was told: nothing less, nothing twice, nothing else.

        Returns how many transfers of unknown outcome were posted.
        """
        total = check_invariants(database_url)
        with psycopg.connect(database_url) as conn:
            keyed = conn.execute("SELECT key, transfer_id FROM idempotency_keys WHERE transfer_id IS NOT NULL").fetchall()
            kept = {key for (key,) in conn.execute("SELECT key FROM idempotency_keys WHERE transfer_id IS NULL")}
            free = conn.execute("SELECT reference, id FROM transfers WHERE reference IS NOT NULL").fetchall()
        stored = dict(keyed + free)
        assert len(stored) == len(keyed) + len(free), "a reference was posted twice"
        decided = self.unknown & stored.keys()
        assert {name: stored[name] for name in stored.keys() - decided} == self.posted
        assert kept == self.refused_keys
        assert not self.not_posted & stored.keys(), "an answer said that nothing was done"
        assert total == len(self.posted) + len(decided) + self.funding
        return len(decided)


class Load:
    """Threads that post transfers at RATE between `accounts`, in a `with` statement."""

    def __init__(
        self, port: int, token: str, accounts: list[int], told: Told,
        *, clients: int = CLIENTS, without_key: float = WITHOUT_KEY,
    ) -> None:
        self.rate = RATE
        self._without_key = without_key
        self.answers: list[tuple[float, bool]] = []  # when, and whether it was good
        self.faults: list[Fault] = []
        self.repeats = 0
        self.unknown = 0
        self.longest_s = 0.0
        self.posted = 0
        self._told = told
        told.loads += 1
        self._name = f"load{told.loads}"
        self._port, self._token, self._accounts = port, token, accounts
        self._errors: list[BaseException] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait_good()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(RESOLVE_WITHIN_S + 15)
        assert self._errors == []
        assert not any(thread.is_alive() for thread in self._threads)

    @contextmanager
    def fault(self, *, recover: bool = True) -> Iterator[None]:
        """Something is broken in the block. Afterwards waits, if it is to `recover`, until all is well again."""
        fault = Fault(time.monotonic())
        yield
        fault.end = time.monotonic()
        self.faults.append(fault)
        if recover:
            self.wait_good()

    def pause(self, seconds: float) -> None:
        """Let the load go on for so long."""
        self._stop.wait(seconds)

    def wait_good(self) -> None:
        """Return after a second of good answers at nearly the full pace."""
        since = time.monotonic()

        def good() -> bool:
            assert self._errors == []
            now = time.monotonic()
            recent = [ok for at, ok in self.answers[-2 * self.rate :] if at > now - 1]
            return now > since + 1 and len(recent) > 0.6 * self.rate and recent.count(False) <= 0.01 * len(recent)

        wait_until(good, RESOLVE_WITHIN_S, lambda: f"service did not come back: {self.answers[-20:]}")

    def figures(self) -> Figures:
        """What the faults did to the clients."""
        return Figures.of(self.faults, self.answers, self.rate, self.posted, self.repeats, self.unknown, self.longest_s)

    def _run(self, seed: int) -> None:
        choice, client = random.Random(seed), HttpClient(self._port, self._token, timeout_s=10)
        period_s, due, number = len(self._threads) / self.rate, time.monotonic() + seed / self.rate, 0
        try:
            while not self._stop.wait(max(due - time.monotonic(), 0.0)):
                due = max(due + period_s, time.monotonic() - period_s)  # what was missed is not made up for
                number += 1
                name = f"{self._name}-{seed}-{number}"
                source, target = choice.sample(self._accounts, 2)
                body = {"from_account_id": source, "to_account_id": target, "amount": choice.randint(1, 400)}
                began = time.monotonic()
                if choice.random() < self._without_key:
                    self._post_once(client, body, name)
                else:
                    self._post_until_known(client, body, name)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
        except BaseException as exc:  # noqa: BLE001  # a thread has nobody to tell: the test looks at the list
            self._errors.append(exc)
        finally:
            client.close()

    def _post_until_known(self, client: HttpClient, body: dict[str, int], key: str) -> None:
        """The same key again and again, until the outcome is certain."""
        began = time.monotonic()
        while True:
            reply = self._try(client, body, Idempotency_Key=key)
            if reply is not None and reply.status in (200, 201):
                self._told.posted[key] = reply.json["id"]
                self.posted += 1
                return
            if reply is not None and reply.status == 422:
                assert reply.code in CERTAIN_REFUSALS, reply.body
                self._told.refused_keys.add(key)
                return
            assert reply is None or reply.status in (503, 504), reply.body
            assert time.monotonic() - began < RESOLVE_WITHIN_S, f"{key} was not resolved: {reply}"
            self.repeats += 1
            time.sleep(PAUSE_S)

    def _post_once(self, client: HttpClient, body: dict[str, int], reference: str) -> None:
        """Without a key a client must not ask again: what it was told is final, or unknown."""
        reply = self._try(client, body | {"reference": reference})
        if reply is not None and reply.status == 201:
            self._told.posted[reference] = reply.json["id"]
            self.posted += 1
        elif reply is not None and reply.code in CERTAIN_REFUSALS | NOTHING_DONE:
            self._told.not_posted.add(reference)
        else:
            assert reply is None or reply.code == "outcome_unknown", reply.body
            self._told.unknown.add(reference)
            self.unknown += 1

    def _try(self, client: HttpClient, body: dict[str, object], **headers: str) -> Reply | None:
        """The answer, or None when the connection broke before there was one."""
        try:
            reply = client.call("POST", "/api/transfers", body, Request_Timeout=str(REQUEST_TIMEOUT_S), **headers)
        except (OSError, http.client.HTTPException):
            reply = None
        self.answers.append((time.monotonic(), reply is not None and reply.status < 500))
        return reply
