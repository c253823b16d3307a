"""Posting through a real gRPC process: what tests/acceptance/test_posting.py demands of HTTP, and both at once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import grpc
import psycopg
import pytest

from service.rpc.server import CHECKS, WAITING, WATCHERS
from service.rpc.v1 import ledger_pb2, ledger_pb2_grpc
from tests.acceptance.test_posting import REFUSALS, check_answers, memory_kb
from tests.acceptance.test_posting import post as post_http
from tests.client import HttpClient
from tests.invariants import check_invariants
from tests.rpc.client import Outcome, RpcClient
from tests.rpc.serving import ServeGrpc
from tests.serving import Serve, free_port, wait_until

CLIENTS = 32
TRANSFERS = 6_400
ACCOUNTS = 50
OK = grpc.StatusCode.OK


@pytest.fixture
def serving(database_url: str, tmp_path: Path) -> Iterator[ServeGrpc]:
    """A ready process."""
    with ServeGrpc(tmp_path, database_url, LEDGERD_DB_MAX_OPEN="10") as server:
        yield server.wait_ready()


def post(client: RpcClient, source: int, target: int, amount: int, **metadata: Any) -> Outcome:
    """Post a transfer."""
    message = {"from_account_id": source, "to_account_id": target, "amount": amount}
    return client.ledger("CreateTransfer", message, **metadata)


def open_accounts(client: RpcClient, number: int) -> list[int]:
    """Accounts with funds of 1,000 each, from one that has no floor; that one is the last."""
    def opened(**fields: object) -> int:
        outcome = client.ledger("CreateAccount", {"asset": "USD/2", **fields})
        assert outcome.status is OK, outcome
        return int(outcome.message.id)

    world = opened(without_min_balance=True)
    accounts = [opened() for _ in range(number - 1)]
    for account in accounts:
        assert post(client, world, account, 1_000).status is OK
    return [*accounts, world]


def test_the_books_balance_under_concurrency(serving: ServeGrpc, key: str, database_url: str) -> None:
    """32 clients post at once, a third on one hot account: every answer agrees with the tables, which balance."""
    with RpcClient(serving.port, key) as setup:
        accounts = open_accounts(setup, ACCOUNTS)
    hot = accounts[0]

    def work(seed: int) -> list[Outcome]:
        choice, outcomes = random.Random(seed), []
        with RpcClient(serving.port, key) as client:
            for _ in range(TRANSFERS // CLIENTS):
                source, target = choice.choices(accounts[:-1], k=2)
                if choice.random() < 1 / 3:
                    source, target = (hot, target) if choice.random() < 0.5 else (source, hot)
                outcomes.append(post(client, source, target, choice.randint(1, 300)))
        return outcomes

    with ThreadPoolExecutor(CLIENTS) as threads:
        outcomes = [outcome for part in threads.map(work, range(CLIENTS)) for outcome in part]

    assert len(outcomes) == TRANSFERS
    refused = Counter(outcome.code for outcome in outcomes if outcome.status is not OK)
    assert set(refused) <= REFUSALS
    assert refused["insufficient_funds"] > 0
    names = ("from_account_id", "to_account_id", "amount", "from_version", "to_version", "from_balance", "to_balance")
    rows = [outcome.message for outcome in outcomes if outcome.status is OK]
    posted = {row.id: {name: getattr(row, name) for name in names} for row in rows}
    assert len(posted) == TRANSFERS - sum(refused.values()), "an id was given twice"
    assert check_invariants(database_url) == len(posted) + ACCOUNTS - 1
    check_answers(database_url, posted)


def test_a_key_has_one_effect(serving: ServeGrpc, key: str, database_url: str) -> None:
    """100 posts of one key at once give one row and 100 equal answers; a changed one is refused; a refused key stays so."""
    with RpcClient(serving.port, key) as setup:
        first, second, _ = open_accounts(setup, 3)
        start = Barrier(100)

        def once(_: int) -> Outcome:
            with RpcClient(serving.port, key) as client:
                start.wait(60)
                return post(client, first, second, 10, idempotency_key="the-key")

        with ThreadPoolExecutor(100) as threads:
            outcomes = list(threads.map(once, range(100)))
        assert {outcome.status for outcome in outcomes} == {OK}
        assert len({outcome.message.SerializeToString(deterministic=True) for outcome in outcomes}) == 1
        assert sum(outcome.metadata.get("idempotency-replayed") == "true" for outcome in outcomes) == 99

        changed = post(setup, first, second, 11, idempotency_key="the-key")
        assert (changed.status, changed.code) == (grpc.StatusCode.FAILED_PRECONDITION, "idempotency_key_reused")

        assert post(setup, first, second, 5_000, idempotency_key="too-much").code == "insufficient_funds"
        assert post(setup, second, first, 1_000, idempotency_key="top-up").status is OK
        again = [post(setup, first, second, 5_000, idempotency_key="too-much") for _ in range(3)]
        assert {outcome.code for outcome in again} == {"insufficient_funds"}
    assert check_invariants(database_url) == 4  # two of funding, the key's, the top-up


def test_a_key_has_one_effect_over_both(serving: ServeGrpc, key: str, database_url: str, tmp_path: Path) -> None:
    """Posted over HTTP and gRPC at once, by two processes: one row, and everybody is told of it."""
    with (
        Serve(tmp_path, DATABASE_URL=database_url, LEDGERD_WORKERS="1", LEDGERD_LOG_LEVEL="warning") as web,
        RpcClient(serving.port, key) as setup,
    ):
        web.wait_ready()
        first, second, _ = open_accounts(setup, 3)
        start = Barrier(40)

        def once(number: int) -> int:
            if number % 2:
                client = HttpClient(web.port, key)
                start.wait(60)
                reply = post_http(client, first, second, 10, Idempotency_Key="shared")
                client.close()
                return int(reply.json["id"])
            with RpcClient(serving.port, key) as caller:
                start.wait(60)
                return int(post(caller, first, second, 10, idempotency_key="shared").message.id)

        with ThreadPoolExecutor(40) as threads:
            assert len(set(threads.map(once, range(40)))) == 1
    assert check_invariants(database_url) == 3


def test_a_hold_is_captured_once(serving: ServeGrpc, key: str, database_url: str) -> None:
    """30 captures and releases race for it: one wins, the others learn that it is resolved."""
    with RpcClient(serving.port, key) as setup:
        first, second, _ = open_accounts(setup, 3)
        for _ in range(5):
            message = {"from_account_id": first, "to_account_id": second, "amount": 100, "hold": True}
            hold = setup.ledger("CreateTransfer", message).message.id
            start = Barrier(30)

            def race(number: int, hold: int = hold, start: Barrier = start) -> str | None:
                with RpcClient(serving.port, key) as client:
                    start.wait(60)
                    return client.ledger(("CaptureHold", "ReleaseHold")[number % 2], {"hold_id": hold}).code

            with ThreadPoolExecutor(30) as threads:
                assert Counter(threads.map(race, range(30))) == {None: 1, "hold_resolved": 29}
    check_invariants(database_url)


def test_overload_is_told_at_once(database_url: str, key: str, tmp_path: Path) -> None:
    """A full posting queue: UNAVAILABLE with a time to wait, at once; what was taken in is posted, memory stays."""
    with ServeGrpc(tmp_path, database_url, LEDGERD_POSTING_QUEUE="4", LEDGERD_LOG_LEVEL="error") as server:
        server.wait_ready()
        with RpcClient(server.port, key) as client, psycopg.connect(database_url) as blocker:
            first, second, _ = open_accounts(client, 3)
            blocker.execute("SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", (first,))
            with ThreadPoolExecutor(60) as threads:
                calls = [threads.submit(post, client, first, second, 1) for _ in range(60)]
                wait_until(lambda: sum(call.done() for call in calls) >= 50, 20)
                refused = [call.result() for call in calls if call.done()]
                assert {(each.status, each.code) for each in refused} == {(grpc.StatusCode.UNAVAILABLE, "overloaded")}
                assert all((each.retry_after_s or 0) >= 1 for each in refused)
                blocker.commit()
            codes = Counter(call.result().code for call in calls)  # some may have been refused after the others
            assert codes == {None: 60 - codes["overloaded"], "overloaded": codes["overloaded"]}
            assert codes["overloaded"] >= len(refused)
            before = memory_kb([server.process.pid])
            with ThreadPoolExecutor(60) as threads:
                list(threads.map(lambda _: post(client, first, second, 1), range(2_000)))
            assert memory_kb([server.process.pid]) < before * 1.3
    check_invariants(database_url)


def test_more_calls_than_may_wait_are_refused_at_once(database_url: str, key: str, tmp_path: Path) -> None:
    """By grpc itself, and the others are answered when their turn comes."""
    with ServeGrpc(tmp_path, database_url, LEDGERD_GRPC_THREADS="2", LEDGERD_GRPC_STREAMS="1") as server:
        server.wait_ready()
        with RpcClient(server.port, key) as client, psycopg.connect(database_url) as blocker:
            first, second, _ = open_accounts(client, 3)
            blocker.execute("SELECT 1 FROM accounts WHERE id = %s FOR UPDATE", (first,))
            taken = 2 + 1 + CHECKS + WATCHERS + 2 * WAITING  # all threads, and those that wait for one
            with ThreadPoolExecutor(60) as threads:
                calls = [threads.submit(post, client, first, second, 1) for _ in range(60)]
                wait_until(lambda: sum(call.done() for call in calls) == 60 - taken, 20)
                refused = [call.result() for call in calls if call.done()]
                assert {each.status for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
                blocker.commit()
            assert sum(call.result().status is OK for call in calls) == taken
    check_invariants(database_url)


def test_a_kill_loses_nothing_that_was_told(database_url: str, key: str, tmp_path: Path) -> None:
    """kill -9 under load, three times: whoever repeats a call with its key learns what became of it, and it happened once.

    A stream of events that is resumed after each kill tells all of it, in order, and nothing twice.
    """
    port = free_port()
    stop, all_told, told, errors = Event(), Event(), dict[str, int](), Counter[str | None]()

    def work(number: int, accounts: list[int]) -> None:
        with RpcClient(port, key) as client:
            for turn in count():
                if stop.is_set():
                    return
                name, source, target = f"{number}-{turn}", *random.Random(turn).sample(accounts, 2)
                while (outcome := post(client, source, target, 1, idempotency_key=name, timeout_s=20)).status is not OK:
                    errors[outcome.status.name] += 1
                    Event().wait(0.05)
                told[name] = outcome.message.id

    heard: list[int] = []

    def listen() -> None:
        request = ledger_pb2.StreamEventsRequest(types=["transfer.posted"])
        for _ in range(2_000):  # most of them while no server is there
            if all_told.is_set() and len(heard) >= len(told) + 9:
                return
            request.after = heard[-1] if heard else 0
            with RpcClient(port, key) as client:
                stream = ledger_pb2_grpc.LedgerServiceStub(client.channel).StreamEvents
                try:
                    for event in stream(request, metadata=client.metadata(), timeout=5):
                        heard.append(event.id)
                except grpc.RpcError as error:
                    if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                        raise
                    Event().wait(0.05)

    with ThreadPoolExecutor(9) as threads:
        working: list[Future[None]] = []
        try:
            for turn in range(4):
                with ServeGrpc(tmp_path, database_url, port) as server:
                    server.wait_ready()
                    if not working:
                        with RpcClient(port, key) as client:
                            accounts = open_accounts(client, 10)
                        working = [threads.submit(work, number, accounts) for number in range(8)]
                        listening = threads.submit(listen)
                    goal = len(told) + 150
                    wait_until(lambda goal=goal: len(told) >= goal, 60)
                    if turn < 3:
                        server.process.kill()
                        server.process.wait()
                    else:
                        stop.set()
                        for each in working:
                            each.result(60)
                        all_told.set()
                        listening.result(60)
        finally:
            stop.set()
            all_told.set()
    assert set(errors) <= {"UNAVAILABLE"}
    assert errors["UNAVAILABLE"] > 0, "the kills were not noticed"
    assert check_invariants(database_url) == len(told) + 9
    with psycopg.connect(database_url) as conn:
        query = "SELECT key, transfer_id FROM idempotency_keys WHERE key = ANY (%s)"
        stored = dict(conn.execute(query, (list(told),)).fetchall())
        every = [row[0] for row in conn.execute("SELECT id FROM transfers ORDER BY id")]
    assert stored == told
    assert heard == every
