"""Where several rules refuse a transfer, the first in the documented order decides. One test for each neighbouring pair."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from service.concurrency.context import background
from service.ledger.model import Model, ModelAccount
from service.ledger.money import GREATEST_AMOUNT
from service.ledger.transfers import PostRequest, Refused
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


def test_a_spent_key_decides_before_every_rule(store: PostingRepository, db: psycopg.Connection) -> None:
    """Another request under a spent key is told so, whatever else is wrong with it."""
    insert_accounts(db, Model(), {(1, number): replace(account) for number, account in ACCOUNTS.items()})
    first = PostRequest(ledger_id=1, from_account_id=9, to_account_id=1, amount=10, key="k")
    store.post_batch(background(), [first])
    other = PostRequest(ledger_id=1, from_account_id=99, to_account_id=99, amount=10, key="k")
    assert store.post_batch(background(), [other]) == [Refused("idempotency_key_reused", "Idempotency-Key")]
