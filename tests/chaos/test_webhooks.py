"""Dispatchers are killed while receivers fail: all arrives, in order for each account. And a dead target harms no other."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.conftest import FULL
from tests.client import HttpClient
from tests.conftest import make_key
from tests.events.hooks import Hooks, hooked
from tests.events.receivers import receiving
from tests.serving import LEDGERD, Serve, clean_env, free_port, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(900)]

TRANSFERS = 20_000 if FULL else 2_000
KILLS = 5
ACCOUNTS = 200
CLIENTS = 4
MOST_ATTEMPTS = 60
DEAD_TARGETS = 6
MEASURED = 2_000 if FULL else 400
SETTINGS = {
    "LEDGERD_WORKERS": "1", "LEDGERD_LOG_LEVEL": "error", "LEDGERD_DISPATCHER": "off",
    "LEDGERD_WEBHOOK_NETWORKS": "127.0.0.0/8", "LEDGERD_WEBHOOK_LEASE_S": "2", "LEDGERD_WEBHOOK_BACKOFF_S": "0.05",
    "LEDGERD_WEBHOOK_BACKOFF_CAP_S": "0.5",
    "LEDGERD_WEBHOOK_ATTEMPTS": str(MOST_ATTEMPTS), "LEDGERD_WEBHOOK_TIMEOUT_S": "2", "LEDGERD_WEBHOOK_BREAKER_S": "1",
}


class Dispatchers:
    """Processes to kill. Each comes back under its number, and tells its metrics on a port of its own."""

    def __init__(self, number: int, settings: dict[str, str]) -> None:
        self._settings = settings
        self._ports = [free_port() for _ in range(number)]
        self._processes = [self._start(port) for port in self._ports]
        self.kills = 0

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        env = clean_env(**self._settings, LEDGERD_DISPATCHER_METRICS_BIND=f"127.0.0.1:{port}")
        return subprocess.Popen([*LEDGERD, "dispatcher"], env=env, stderr=subprocess.DEVNULL)

    def metric(self, number: int, name: str) -> float:
        """A value of one of them; -1 while it tells none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[number]}/metrics", timeout=5) as answer:
                found = re.search(rf"^{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
        except OSError:
            return -1
        return float(found[1]) if found else -1

    def kill_who_delivers(self) -> None:
        """kill -9 to the one that has webhooks, and start it again at once: the other takes over."""
        for number, process in enumerate(self._processes):
            if self.metric(number, "ledgerd_webhooks") > 0:
                process.kill()
                process.wait()
                self.kills += 1
                self._processes[number] = self._start(self._ports[number])
                return

    def close(self) -> None:
        """End them in order."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        try:
            assert [process.wait(30) for process in self._processes] == [0] * len(self._processes)
        finally:
            for process in self._processes:
                process.kill()
                process.wait()


@contextmanager
def dispatching(number: int, **settings: str) -> Iterator[Dispatchers]:
    """As many for the block."""
    dispatchers = Dispatchers(number, {**SETTINGS, **settings})
    try:
        yield dispatchers
    finally:
        dispatchers.close()


class World:
    """A ledgerd that serves, a client, and accounts without a floor."""

    def __init__(self, serve: Serve, key: str, accounts: int) -> None:
        self.port, self.key = serve.port, key
        self.client = HttpClient(serve.port, key)
        self.accounts = [self._post("/api/accounts", {"asset": "USD/2", "min_balance": None})["id"] for _ in range(accounts)]

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = self.client.call("POST", path, body)
        assert reply.status in (200, 201), reply.body
        made: dict[str, Any] = reply.json
        return made

    def webhook(self, url: str) -> dict[str, Any]:
        """A new one."""
        return self._post("/api/webhooks", {"url": url, "types": ["transfer.posted"]})

    def state(self, webhook: dict[str, Any]) -> dict[str, Any]:
        """As it is now."""
        client = HttpClient(self.port, self.key)
        found: dict[str, Any] = client.call("GET", f"/api/webhooks/{webhook['id']}").json
        client.close()
        return found

    def move(self, client: HttpClient, rng: random.Random) -> int:
        """A transfer between two of them."""
        source, target = rng.sample(self.accounts, 2)
        reply = client.call("POST", "/api/transfers", {"from_account_id": source, "to_account_id": target, "amount": 1})
        assert reply.status == 201, reply.body
        number: int = reply.json["id"]
        return number

    def load(self, number: int, told: dict[int, float], pause_s: float = 0.0) -> list[threading.Thread]:
        """Clients that post `number` transfers in all, and note when each was answered."""

        def post(seed: int) -> None:
            client, rng = HttpClient(self.port, self.key), random.Random(seed)
            for _ in range(number // CLIENTS):
                told[self.move(client, rng)] = time.monotonic()
                time.sleep(pause_s)
            client.close()

        threads = [threading.Thread(target=post, args=(seed,)) for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads


@contextmanager
def serving(database_url: str, accounts: int) -> Iterator[World]:
    """A web server without a dispatcher."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-hooks-"))
    with Serve(folder, **SETTINGS, DATABASE_URL=database_url) as serve:
        serve.wait_ready()
        world = World(serve, make_key(database_url), accounts)
        yield world
        world.client.close()


def test_killed_dispatchers_lose_nothing_and_keep_the_order(database_url: str) -> None:
    """One of two is killed five times under load, and one answer in five is 500: at least once, in order, signed, bounded."""
    rng = random.Random(5)
    told: dict[int, float] = {}
    with serving(database_url, ACCOUNTS) as world, hooked(lambda _event: 500 if rng.random() < 0.2 else 200) as hooks:
        webhook = world.webhook(hooks.url())
        began = time.monotonic()
        with dispatching(2, DATABASE_URL=database_url) as dispatchers:
            threads = world.load(TRANSFERS, told)
            for turn in range(1, KILLS + 1):
                wait_until(lambda share=turn: len(hooks.accepted()) >= TRANSFERS * share // (KILLS + 2), 300)
                hooks.verify(webhook["secret"])
                killed = dispatchers.kills
                wait_until(lambda before=killed: (dispatchers.kill_who_delivers(), dispatchers.kills > before)[1], 60)
            for thread in threads:
                thread.join()
            wait_until(lambda: len(hooks.accepted()) >= len(told), 600, lambda: f"{len(hooks.accepted())} of {len(told)}")
            took_s = time.monotonic() - began
            hooks.verify(webhook["secret"])
            wait_until(lambda: world.state(webhook)["position"] >= max(told) and not world.state(webhook)["waiting"], 30)
        assert set(hooks.accepted()) == set(told)
        hooks.check_order()
        attempts = Counter(receipt.event["id"] for receipt in hooks.receipts)
        accepted = Counter(receipt.event["id"] for receipt in hooks.receipts if receipt.status == 200)
        assert max(attempts.values()) <= MOST_ATTEMPTS + KILLS
        assert dispatchers.kills == KILLS
        assert world.state(webhook)["dead"] == 0
        again = sum(accepted.values()) - len(accepted)
        print(
            f"\nwebhooks: {len(told)} transfers, {dispatchers.kills} kills -9, {sum(attempts.values())} attempts, "
            f"{again} accepted more than once, at most {max(attempts.values())} attempts at one, 0 lost, 0 out of order, "
            f"{len(told) / took_s:.0f} events/s"
        )


def test_a_dead_target_slows_nobody_down(database_url: str) -> None:
    """Six targets take connections and never answer: the others' events arrive, breakers open, and close by themselves."""
    told: dict[int, float] = {}
    answer = threading.Event()
    figures = {}
    with ExitStack() as stack:
        world = stack.enter_context(serving(database_url, ACCOUNTS))
        healthy = [stack.enter_context(hooked()) for _ in range(2)]
        for hooks in healthy:
            world.webhook(hooks.url())
        dispatchers = stack.enter_context(dispatching(1, DATABASE_URL=database_url, LEDGERD_WEBHOOK_WORKERS="16"))
        for hooks in healthy:
            wait_until(lambda hooks=hooks: (world.move(world.client, random.Random()), bool(hooks.receipts))[1], 60)
        figures["alone"] = measured(world, healthy, told)

        ports = []
        with ExitStack() as dead:
            for _ in range(DEAD_TARGETS):
                receiver = dead.enter_context(receiving(lambda _conn: (answer.wait(600), None)[1]))
                ports.append(receiver.port)
                world.webhook(f"http://127.0.0.1:{receiver.port}/")
            figures["with dead ones"] = measured(world, healthy, told)
            wait_until(lambda: opened(dispatchers) == DEAD_TARGETS, 120, lambda: f"{opened(dispatchers)} are open")
            figures["breakers open"] = measured(world, healthy, told)
            answer.set()
        assert all(world.state(webhook)["dead"] == 0 for webhook in webhooks(world))
        wait_until(lambda: sum(map(len_of_rows, webhooks(world))) <= DEAD_TARGETS * 32, 10)

        back = [stack.enter_context(_reopened(port)) for port in ports]
        missing = {number for number in told if number > first_of(world, back)}
        wait_until(lambda: all(set(hooks.accepted()) >= missing for hooks in back), 300)
        wait_until(lambda: opened(dispatchers) == 0, 60)
        for hooks in (*healthy, *back):
            hooks.check_order()
    for name, (p50, p99) in figures.items():
        print(f"\nwebhooks to healthy targets, {name}: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms", end="")
    print()


def webhooks(world: World) -> list[dict[str, Any]]:
    """All of them."""
    found: list[dict[str, Any]] = world.client.call("GET", "/api/webhooks").json["data"]
    return found


def len_of_rows(webhook: dict[str, Any]) -> int:
    """What is written down of it."""
    return int(webhook["waiting"]) + int(webhook["dead"])


def first_of(world: World, back: list[Hooks]) -> int:
    """The event after which the targets that were dead were to be told."""
    ports = {hooks.port for hooks in back}
    return max(w["position"] for w in webhooks(world) if int(w["url"].rstrip("/").rpartition(":")[2]) in ports)


def opened(dispatchers: Dispatchers) -> int:
    """How many breakers are not closed."""
    states = ("open", "half-open")
    return int(sum(dispatchers.metric(0, f'ledgerd_webhook_breakers{{state="{state}"}}') for state in states))


def measured(world: World, healthy: list[Hooks], told: dict[int, float]) -> tuple[float, float]:
    """From a transfer's answer to its receipt, the median and the 99th percentile in seconds, of so many transfers."""
    fresh: dict[int, float] = {}
    for thread in world.load(MEASURED, fresh, pause_s=0.02):
        thread.join()
    told.update(fresh)
    for hooks in healthy:
        wait_until(lambda hooks=hooks: set(hooks.accepted()) >= set(fresh), 60)
    delays = sorted(
        max(receipt.at - fresh[receipt.event["id"]], 0.0)
        for hooks in healthy for receipt in hooks.receipts if receipt.event["id"] in fresh
    )
    return delays[len(delays) // 2], delays[len(delays) * 99 // 100]


@contextmanager
def _reopened(port: int) -> Iterator[Hooks]:
    """A receiver on the port of one that was dead."""
    hooks = Hooks(port=port)
    try:
        yield hooks
    finally:
        hooks.close()

