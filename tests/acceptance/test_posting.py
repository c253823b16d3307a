"""Posting through real gunicorn: correct under concurrency, one effect a key, and honest under overload."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psycopg

from tests.client import HttpClient, Reply
from tests.invariants import check_invariants
from tests.serving import Serve, wait_until

CLIENTS = 32
TRANSFERS = 20_000
ACCOUNTS = 50
REFUSALS = {"insufficient_funds", "same_account"}


def open_accounts(client: HttpClient, number: int) -> list[int]:
    """Accounts with funds of 1,000 each, from one that has no floor; that one is the last."""
    def opened(**fields: object) -> int:
        reply = client.call("POST", "/api/accounts", {"asset": "USD/2", **fields})
        assert reply.status == 201, reply.body
        return int(reply.json["id"])

    world = opened(min_balance=None)
    accounts = [opened() for _ in range(number - 1)]
    for account in accounts:
        assert post(client, world, account, 1_000).status == 201
    return [*accounts, world]


def post(client: HttpClient, source: int, target: int, amount: int, **headers: str) -> Reply:
    """Post a transfer."""
    body = {"from_account_id": source, "to_account_id": target, "amount": amount}
    return client.call("POST", "/api/transfers", body, **headers)


def test_the_books_balance_under_concurrency(served: Serve, database_url: str) -> None:
    """32 clients post 20,000 transfers, a third on one hot account: every answer agrees with the tables, which balance."""
    key = served.key()
    setup = HttpClient(served.port, key)
    accounts = open_accounts(setup, ACCOUNTS)
    setup.close()
    hot = accounts[0]

    def work(seed: int) -> list[Reply]:
        client, choice, replies = HttpClient(served.port, key), random.Random(seed), []
        for _ in range(TRANSFERS // CLIENTS):
            source, target = choice.choices(accounts[:-1], k=2)
            if choice.random() < 1 / 3:
                source, target = (hot, target) if choice.random() < 0.5 else (source, hot)
            replies.append(post(client, source, target, choice.randint(1, 300)))
        client.close()
        return replies

    with ThreadPoolExecutor(CLIENTS) as threads:
        replies = [reply for part in threads.map(work, range(CLIENTS)) for reply in part]

    assert len(replies) == TRANSFERS
    refused = Counter(reply.code for reply in replies if reply.status != 201)
    assert set(refused) <= REFUSALS
    assert refused["insufficient_funds"] > 0
    posted = {reply.json["id"]: reply.json for reply in replies if reply.status == 201}
    assert len(posted) == TRANSFERS - sum(refused.values()), "an id was given twice"
    assert check_invariants(database_url) == len(posted) + ACCOUNTS - 1
    check_answers(database_url, posted)


def check_answers(database_url: str, posted: dict[int, dict]) -> None:
    """Every answer tells what its row holds."""
    names = ("from_account_id", "to_account_id", "amount", "from_version", "to_version", "from_balance", "to_balance")
    with psycopg.connect(database_url) as conn:
        stored = {row[0]: row[1:] for row in conn.execute(f"SELECT id, {', '.join(names)} FROM transfers")}
    for transfer_id, answer in posted.items():
        assert tuple(answer[name] for name in names) == stored[transfer_id]


def test_a_key_has_one_effect(served: Serve, database_url: str) -> None:
    """100 posts of one key at once give one row and 100 equal bodies; a changed body gives 422; a refused key stays so."""
    key = served.key()
    setup = HttpClient(served.port, key)
    first, second, _ = open_accounts(setup, 3)
    start = Barrier(100)

    def once(_: int) -> Reply:
        client = HttpClient(served.port, key)
        start.wait(60)
        reply = post(client, first, second, 10, Idempotency_Key="the-key")
        client.close()
        return reply

    with ThreadPoolExecutor(100) as threads:
        replies = list(threads.map(once, range(100)))
    assert Counter(reply.status for reply in replies) == {201: 1, 200: 99}
    assert len({reply.body for reply in replies}) == 1
    assert sum(reply.headers.get("Idempotency-Replayed") == "true" for reply in replies) == 99

    changed = post(setup, first, second, 11, Idempotency_Key="the-key")
    assert (changed.status, changed.code) == (422, "idempotency_key_reused")

    assert post(setup, first, second, 5_000, Idempotency_Key="too-much").code == "insufficient_funds"
    assert post(setup, second, first, 1_000, Idempotency_Key="top-up").status == 201
    again = [post(setup, first, second, 5_000, Idempotency_Key="too-much") for _ in range(3)]
    assert {reply.code for reply in again} == {"insufficient_funds"}
    setup.close()
    assert check_invariants(database_url) == 4  # two of funding, the key's, the top-up


def memory_kb(pids: list[int]) -> int:
    """The resident memory of processes."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    return total


def test_overload_is_told_at_once(database_url: str, tmp_path: Path) -> None:
    """With far more clients than the queue holds, the rest get 503 and Retry-After, those accepted finish, memory stays."""
    settings = {"LEDGERD_WORKERS": "1", "LEDGERD_POSTING_QUEUE": "4", "LEDGERD_LOG_LEVEL": "error"}
    with Serve(tmp_path, DATABASE_URL=database_url, **settings) as server:
        key = server.wait_ready().key()
        setup = HttpClient(server.port, key)
        first, second, _ = open_accounts(setup, 3)

        def flood(rounds: int) -> list[Reply]:
            client = HttpClient(server.port, key)
            replies = [post(client, first, second, 1) for _ in range(rounds)]
            client.close()
            return replies

        with ThreadPoolExecutor(100) as threads:
            with psycopg.connect(database_url) as blocker:  # the lane waits for this row while the queue fills
                blocker.execute("SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", (first,))
                calls = [threads.submit(flood, 1) for _ in range(100)]
                wait_until(lambda: sum(call.done() for call in calls) >= 80, 20)
                refused = [call.result()[0] for call in calls if call.done()]
                assert {(reply.status, reply.code) for reply in refused} == {(503, "overloaded")}
                assert all(int(reply.headers["Retry-After"]) >= 1 for reply in refused)
            counted = Counter(call.result()[0].status for call in calls)
        assert set(counted) == {201, 503}

        def wave(rounds: int) -> None:
            with ThreadPoolExecutor(100) as threads:
                list(threads.map(flood, [rounds] * 100))

        wave(5)
        before = memory_kb(server.workers())
        wave(20)
        assert memory_kb(server.workers()) < before * 1.3
        setup.close()
        check_invariants(database_url)
