"""Where several rules refuse a transfer, the first in the documented order decides. One test for each neighbouring pair."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from service.concurrency.context import background
from service.ledger.model import Model, ModelAccount
from service.ledger.money import GREATEST_AMOUNT
from service.ledger.transfers import Posted, PostRequest, Refused, link
from service.repository.posting import PostingRepository
from tests.integration.conftest import insert_accounts

# Each request breaks every rule from its own on, as far as rules can be broken together.
ACCOUNTS = {
    1: ModelAccount("USD/2"),
    2: ModelAccount("USD/2", max_balance=0),
    3: ModelAccount("JPY/0", status="closed"),
    4: ModelAccount("USD/2", status="closed"),
    5: ModelAccount("USD/2", status="closed", max_balance=0),
    6: ModelAccount("USD/2", status="frozen"),
    7: ModelAccount("USD/2", status="frozen", max_balance=0),
    8: ModelAccount("USD/2", min_balance=None, balance=-GREATEST_AMOUNT),
    9: ModelAccount("USD/2", min_balance=None),
    10: ModelAccount("USD/2", min_balance=-GREATEST_AMOUNT, balance=-GREATEST_AMOUNT),
}
WRONG = {"asset": "EUR/2", "if_from_version": 9}
CASES = [
    ("same_account to_account_id", 99, 99, WRONG),
    ("not_found from_account_id", 98, 99, WRONG),
    ("not_found to_account_id", 4, 99, WRONG),
    ("asset_mismatch to_account_id", 4, 3, WRONG),
    ("asset_mismatch asset", 4, 5, WRONG),
    ("account_closed from_account_id", 4, 5, {"if_from_version": 9}),
    ("account_closed to_account_id", 6, 5, {"if_from_version": 9}),
    ("account_frozen from_account_id", 6, 7, {"if_from_version": 9}),
    ("account_frozen to_account_id", 1, 7, {"if_from_version": 9}),
    ("version_mismatch if_from_version", 1, 2, {"if_from_version": 9}),
    ("insufficient_funds amount", 1, 2, {}),
    ("insufficient_funds amount", 10, 2, {}),
    ("limit_exceeded from_account_id", 8, 2, {}),
    ("limit_exceeded to_account_id", 9, 2, {}),
]


@pytest.mark.parametrize(("verdict", "source", "target", "more"), CASES, ids=[f"{c[0]} {c[1]}" for c in CASES])
def test_the_first_rule_decides(
    store: PostingRepository, db: psycopg.Connection, verdict: str, source: int, target: int, more: dict
) -> None:
    """A request that breaks this rule and all later ones is refused by this one, in the function and in the model."""
    model = Model()
    insert_accounts(db, model, {(1, number): replace(account) for number, account in ACCOUNTS.items()})
    request = PostRequest(ledger_id=1, from_account_id=source, to_account_id=target, amount=10, **more)
    code, _, field = verdict.partition(" ")
    assert store.post_batch(background(), [request]) == [Refused(code, field)]
    assert model.verdict(request) == verdict


# What there is to resolve or reverse, posted before the accounts are changed: kind, from, to, amount, what it met since.
ORIGINALS = {
    "open": ("hold", 1, 3, 10, None), "released": ("hold", 1, 3, 10, "release"), "expired": ("hold", 1, 3, 10, "time"),
    "plain": ("transfer", 1, 2, 20, None), "reversed": ("transfer", 1, 2, 20, "reversal"),
    "to a closed one": ("hold", 1, 4, 10, None), "to a full one": ("hold", 1, 5, 10, None),
    "spent": ("transfer", 1, 6, 20, None),
}
FROZEN = {1: "frozen", 2: "frozen", 3: "frozen", 4: "closed", 6: "frozen"}
RESOLVING = [
    ("not_found hold_id", "capture", "reversed", {"to_account_id": 3}, FROZEN),
    ("not_found hold_id", "release", "plain", {"amount": 3}, FROZEN),
    ("not_a_hold hold_id", "capture", "reversed", {"amount": 21}, FROZEN),
    ("not_a_hold hold_id", "release", "reversed", {}, FROZEN),
    ("hold_resolved hold_id", "capture", "released", {"amount": 11}, FROZEN),
    ("hold_resolved hold_id", "capture", "expired", {"amount": 11}, FROZEN),
    ("hold_resolved hold_id", "release", "expired", {}, FROZEN),
    ("conflict hold_id", "expiry", "open", {}, FROZEN),
    ("limit_exceeded amount", "capture", "to a closed one", {"amount": 11}, FROZEN),
    ("account_closed to_account_id", "capture", "to a closed one", {}, FROZEN),
    ("account_frozen from_account_id", "capture", "open", {}, FROZEN),
    ("account_frozen to_account_id", "capture", "open", {}, {3: "frozen"}),
    ("limit_exceeded to_account_id", "capture", "to a full one", {}, {}),
    ("posted", "capture", "open", {}, {}),
    ("posted", "release", "open", {}, FROZEN),
    ("posted", "release", "to a closed one", {}, FROZEN),
    ("posted", "expiry", "expired", {}, FROZEN),
    ("not_found transfer_id", "reversal", "released", {"to_account_id": 9}, FROZEN),
    ("not_reversible transfer_id", "reversal", "released", {}, FROZEN),
    ("already_reversed transfer_id", "reversal", "reversed", {}, FROZEN),
    ("account_frozen from_account_id", "reversal", "plain", {}, FROZEN),
    ("insufficient_funds amount", "reversal", "spent", {}, {}),
    ("posted", "reversal", "plain", {}, {}),
]


@pytest.mark.parametrize(
    ("verdict", "kind", "name", "change", "statuses"), RESOLVING, ids=[f"{c[1]} {c[2]}: {c[0]}" for c in RESOLVING]
)
def test_the_first_rule_on_an_original_decides(
    store: PostingRepository, db: psycopg.Connection, verdict: str, kind: str, name: str, change: dict, statuses: dict
) -> None:
    """What is wrong with the hold or the transfer decides before its accounts do; to give money back nothing is in the way."""
    model = Model()
    accounts = {n: ModelAccount("USD/2", max_balance=5 if n == 5 else None) for n in range(2, 8)}
    insert_accounts(db, model, {(1, n): a for n, a in {1: ModelAccount("USD/2", min_balance=None), **accounts}.items()})
    ids = {each: made(store, db, model, *how) for each, how in ORIGINALS.items()}
    post(store, model, PostRequest(ledger_id=1, from_account_id=6, to_account_id=7, amount=15))
    for number, status in statuses.items():
        db.execute("UPDATE accounts SET status = %s WHERE id = %s", (status, number))
        model.accounts[1, number].status = status
    request = resolving(kind, ids[name], name)
    assert post(store, model, replace(request, **change)) == verdict


def made(
    store: PostingRepository, db: psycopg.Connection, model: Model, kind: str, source: int, target: int, amount: int,
    since: str | None,
) -> int:
    """The id of a row that is posted in both, with what happened to it since."""
    lasts = 3600 if since == "time" else None
    request = PostRequest(
        ledger_id=1, from_account_id=source, to_account_id=target, amount=amount, kind=kind, expires_in_s=lasts
    )
    assert post(store, model, request) == "posted"
    (made_id,) = db.execute("SELECT max(id) FROM transfers").fetchone() or (0,)
    model.named[1, made_id] = len(model.log) - 1
    if since in ("release", "reversal"):
        sides = (source, target) if since == "release" else (target, source)
        later = PostRequest(
            ledger_id=1, from_account_id=sides[0], to_account_id=sides[1], amount=amount, kind=since, resolves_id=made_id
        )
        assert post(store, model, later) == "posted"
    if since == "time":
        model.log[-1] = replace(model.log[-1], expires_at=model.now)
        db.execute("ALTER TABLE transfers DISABLE TRIGGER USER")
        db.execute("UPDATE transfers SET expires_at = now() WHERE id = %s", (made_id,))
        db.execute("ALTER TABLE transfers ENABLE TRIGGER USER")
    return int(made_id)


def resolving(kind: str, original_id: int, name: str) -> PostRequest:
    """The request that is right but for what the case makes wrong."""
    _, source, target, amount, _ = ORIGINALS[name]
    sides = (target, source) if kind == "reversal" else (source, target)
    return PostRequest(
        ledger_id=1, from_account_id=sides[0], to_account_id=sides[1], amount=amount, kind=kind, resolves_id=original_id
    )


def post(store: PostingRepository, model: Model, request: PostRequest) -> str:
    """The verdict of both, which agree."""
    (outcome,), (modelled,) = store.post_batch(background(), [request]), model.post([request])
    verdict = "posted" if isinstance(outcome, Posted) else f"{outcome.code} {outcome.field}"
    assert verdict == modelled.verdict
    return verdict


def test_in_a_group_the_first_request_at_fault_decides(store: PostingRepository, db: psycopg.Connection) -> None:
    """Though a later one breaks an earlier rule; all have its number, and a neighbour is posted."""
    insert_accounts(db, Model(), {(1, number): replace(account) for number, account in ACCOUNTS.items()})
    fine = PostRequest(ledger_id=1, from_account_id=9, to_account_id=1, amount=10)
    short, nowhere = replace(fine, from_account_id=1, to_account_id=9, amount=11), replace(fine, to_account_id=99)
    outcomes = store.post_batch(background(), [*link([fine, short, nowhere]), fine])
    assert outcomes[:3] == [Refused("insufficient_funds", "amount", 1)] * 3
    assert isinstance(outcomes[3], Posted)
    assert db.execute("SELECT balance, version FROM accounts WHERE id = 1").fetchall() == [(10, 1)]


def test_a_spent_key_decides_before_every_rule(store: PostingRepository, db: psycopg.Connection) -> None:
    """Another request under a spent key is told so, whatever else is wrong with it."""
    insert_accounts(db, Model(), {(1, number): replace(account) for number, account in ACCOUNTS.items()})
    first = PostRequest(ledger_id=1, from_account_id=9, to_account_id=1, amount=10, key="k")
    store.post_batch(background(), [first])
    other = PostRequest(ledger_id=1, from_account_id=99, to_account_id=99, amount=10, key="k")
    assert store.post_batch(background(), [other]) == [Refused("idempotency_key_reused", "Idempotency-Key")]
