"""Holds through real workers: whatever races for one, exactly one wins; and what expires does so once, unasked."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg

from tests.acceptance.test_posting import open_accounts
from tests.client import HttpClient, Reply
from tests.invariants import check_invariants
from tests.serving import Serve, wait_until

RACERS = 100
ROUNDS = 1_000
PAIRS = 8
FUNDS = 1_000


def hold(client: HttpClient, source: int, target: int, amount: int, **fields: object) -> int:
    """The id of a new hold."""
    body = {"from_account_id": source, "to_account_id": target, "amount": amount, "hold": True, **fields}
    reply = client.call("POST", "/api/transfers", body)
    assert reply.status == 201, reply.body
    return int(reply.json["id"])


def hold_many(client: HttpClient, source: int, target: int, number: int, **fields: object) -> list[int]:
    """The ids of `number` holds of 1 each, a hundred to a request."""
    found: list[int] = []
    each = {"from_account_id": source, "to_account_id": target, "amount": 1, "hold": True, **fields}
    for _ in range(number // 100):
        reply = client.call("POST", "/api/transfers/linked", {"transfers": [each] * 100})
        assert reply.status == 201, reply.body
        found += [transfer["id"] for transfer in reply.json["transfers"]]
    return found


def told(reply: Reply) -> str:
    """What became of it."""
    return "posted" if reply.status == 201 else reply.code


def send_each(served: Serve, key: str, paths: list[list[str]]) -> list[list[Reply]]:
    """Answers to each list of paths, one after the other on a connection of its own; all lists begin at once."""
    start = Barrier(len(paths))

    def send(mine: list[str]) -> list[Reply]:
        client = HttpClient(served.port, key)
        start.wait(60)
        replies = [client.call("POST", path, {}) for path in mine]
        client.close()
        return replies

    with ThreadPoolExecutor(len(paths)) as threads:
        return list(threads.map(send, paths))


def test_of_a_hundred_captures_one_wins(served: Serve, database_url: str) -> None:
    """All at once on two workers: one is posted, the others are told that the hold is resolved."""
    key = served.key()
    setup = HttpClient(served.port, key)
    payer, payee, _ = open_accounts(setup, 3)
    number = hold(setup, payer, payee, 400)
    answers = send_each(served, key, [[f"/api/transfers/{number}/capture"]] * RACERS)
    assert Counter(told(reply) for (reply,) in answers) == {"posted": 1, "hold_resolved": RACERS - 1}
    balance = setup.call("GET", f"/api/accounts/{payer}/balance").json
    assert (balance["balance"], balance["held"]) == (FUNDS - 400, 0)
    setup.close()
    check_invariants(database_url)


def test_capture_release_and_expiry_race_and_one_wins(served: Serve, database_url: str) -> None:
    """A thousand holds, each captured and released at once just when it expires by itself: one row resolves each."""
    key = served.key()
    setup = HttpClient(served.port, key)
    payer, payee, _ = open_accounts(setup, 3)
    holds = hold_many(setup, payer, payee, ROUNDS, expires_in_s=2)
    parts = [holds[number::PAIRS] for number in range(PAIRS)]
    paths = [[f"/api/transfers/{number}/{what}" for number in part] for part in parts for what in ("capture", "release")]
    answers = send_each(served, key, paths)
    for captures, releases in zip(answers[::2], answers[1::2], strict=True):
        for pair in zip(captures, releases, strict=True):
            assert sorted(told(reply) for reply in pair) in (["hold_resolved", "posted"], ["hold_resolved"] * 2)
    won = sum(reply.status == 201 for replies in answers for reply in replies)

    def is_over() -> bool:
        with psycopg.connect(database_url) as conn:
            return conn.execute("SELECT count(*) FROM open_holds").fetchone() == (0,)

    wait_until(is_over, 60)
    with psycopg.connect(database_url) as conn:
        kinds = dict(conn.execute("SELECT kind, count(*) FROM transfers WHERE resolves_id IS NOT NULL GROUP BY 1").fetchall())
        twice = conn.execute("SELECT resolves_id FROM transfers WHERE resolves_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1")
        assert twice.fetchall() == []
    assert sum(kinds.values()) == ROUNDS
    assert kinds.get("capture", 0) + kinds.get("release", 0) == won
    assert setup.call("GET", f"/api/accounts/{payer}/balance").json["balance"] == FUNDS - kinds.get("capture", 0)
    setup.close()
    check_invariants(database_url)


def test_what_expires_is_given_back_unasked(served: Serve, database_url: str) -> None:
    """By either worker, each hold once; in each ledger."""
    key = served.key()
    setup = HttpClient(served.port, key)
    payer, payee, _ = open_accounts(setup, 3)
    holds = hold_many(setup, payer, payee, 600, expires_in_s=1)
    lasting = hold(setup, payer, payee, 7)
    wait_until(lambda: setup.call("GET", f"/api/accounts/{payer}/balance").json["held"] == 7, 60)
    assert {setup.call("GET", f"/api/transfers/{number}").json["status"] for number in holds[::50]} == {"expired"}
    assert setup.call("GET", f"/api/transfers/{lasting}").json["status"] == "open"
    setup.close()
    assert check_invariants(database_url) == 2 * 600 + 1 + 2
