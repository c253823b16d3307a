"""Workers and PostgreSQL are killed under load: nothing acknowledged is lost, nothing is posted twice, service comes back."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from service.repository.embedded import EmbeddedPostgres
from tests.acceptance.test_posting import open_accounts
from tests.client import HttpClient, Reply
from tests.invariants import check_invariants
from tests.serving import Serve, children, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

FULL = os.environ.get("LEDGERD_CHAOS") == "full"
WORKER_KILLS = 20 if FULL else 3
KILL_EVERY_S = 2.0
CLIENTS = 8
RESOLVE_WITHIN_S = 60.0


@dataclass
class Posted:
    """What clients know: by key, the id they were told; how often they had to ask again."""

    ids: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    repeats: int = 0
    worst_s: float = 0.0


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that PostgreSQL's system user can enter."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-chaos-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def post_until_known(port: int, token: str, accounts: list[int], stop: threading.Event, seed: int, posted: Posted) -> None:
    """One client: keyed transfers one after the other, each repeated under its key until its outcome is certain."""
    choice, client, number = random.Random(seed), HttpClient(port, token, timeout_s=10), 0
    while not stop.is_set():
        number += 1
        key = f"{seed}-{number}"
        source, target = choice.sample(accounts, 2)
        body = {"from_account_id": source, "to_account_id": target, "amount": choice.randint(1, 400)}
        began = time.monotonic()
        while True:
            reply = try_once(client, body, key)
            if reply is not None and reply.status in (200, 201):
                posted.ids[key] = reply.json["id"]
                break
            if reply is not None and reply.status == 422:
                assert reply.code == "insufficient_funds"
                posted.refused.add(key)
                break
            assert reply is None or reply.status in (503, 504), reply.body
            assert time.monotonic() - began < RESOLVE_WITHIN_S, f"{key} was not resolved: {reply}"
            posted.repeats += 1
            time.sleep(0.05)
        posted.worst_s = max(posted.worst_s, time.monotonic() - began)
    client.close()


def try_once(client: HttpClient, body: dict[str, int], key: str) -> Reply | None:
    """The answer, or None when the connection broke before there was one."""
    try:
        return client.call("POST", "/api/transfers", body, Idempotency_Key=key, Request_Timeout="5")
    except (OSError, http.client.HTTPException):
        return None


def kill(pid: int) -> None:
    """kill -9, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_kills_lose_and_double_nothing(data_dir: Path) -> None:
    """8 clients with keys; a worker is killed every 2 s, then the postmaster: the books, the keys and the answers agree."""
    with Serve(data_dir, LEDGERD_WORKERS="2", LEDGERD_LOG_LEVEL="error") as server:
        token = (server.wait_ready().log.parent / "admin.key").read_text().strip()
        setup = HttpClient(server.port, token)
        accounts = open_accounts(setup, 20)
        setup.close()
        stop, results = threading.Event(), [Posted() for _ in range(CLIENTS)]
        errors: list[BaseException] = []

        def run(seed: int) -> None:
            try:
                post_until_known(server.port, token, accounts, stop, seed, results[seed])
            except BaseException as exc:  # noqa: BLE001  # a thread has nobody to tell: the test looks at the list
                errors.append(exc)
                stop.set()

        threads = [threading.Thread(target=run, args=(seed,)) for seed in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(WORKER_KILLS):
                stop.wait(KILL_EVERY_S)
                wait_until(lambda: len(server.workers()) == 2, 10)
                kill(server.workers()[turn % 2])
            stop.wait(KILL_EVERY_S)
            (postmaster,) = children(server.process.pid, "/postgres")
            kill(postmaster)
            acknowledged = sum(len(result.ids) for result in results)
            wait_until(lambda: errors or sum(len(r.ids) for r in results) > acknowledged + 200, 60)
        finally:
            stop.set()
            for thread in threads:
                thread.join(RESOLVE_WITHIN_S + 15)
        assert errors == []
        assert not any(thread.is_alive() for thread in threads)
        check_everything(EmbeddedPostgres(data_dir).url, results, len(accounts) - 1)
        print(f"\n{sum(len(r.ids) for r in results)} posted, {sum(r.repeats for r in results)} repeats,"
              f" longest {max(r.worst_s for r in results):.1f} s")
        assert server.stop() == 0


def check_everything(database_url: str, results: list[Posted], funding: int) -> None:
    """Every acknowledged transfer is there, under its key, once; every refused key has no transfer; nothing else is there."""
    told = {key: transfer_id for result in results for key, transfer_id in result.ids.items()}
    refused = {key for result in results for key in result.refused}
    total = check_invariants(database_url)
    with psycopg.connect(database_url) as conn:
        stored = dict(conn.execute("SELECT key, transfer_id FROM idempotency_keys WHERE transfer_id IS NOT NULL").fetchall())
        kept = {key for (key,) in conn.execute("SELECT key FROM idempotency_keys WHERE transfer_id IS NULL")}
    assert stored == told
    assert kept == refused
    assert total == len(told) + funding
