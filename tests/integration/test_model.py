"""The SQL function and the model in plain Python agree: on every outcome, and on every table afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.concurrency.context import background
from service.ledger.model import Model, ModelAccount, ModelOutcome
from service.ledger.money import GREATEST_AMOUNT
from service.ledger.transfers import Outcome, Posted, PostRequest
from service.repository.posting import PostingRepository
from tests.integration.conftest import insert_accounts

ACCOUNTS = {
    (1, 1): lambda: ModelAccount("USD/2", min_balance=None),
    (1, 2): lambda: ModelAccount("USD/2"),
    (1, 3): lambda: ModelAccount("USD/2", min_balance=-50, max_balance=60),
    (1, 4): lambda: ModelAccount("USD/2", status="frozen"),
    (1, 5): lambda: ModelAccount("USD/2", status="closed"),
    (1, 6): lambda: ModelAccount("JPY/0", min_balance=None),
    (1, 7): lambda: ModelAccount("USD/2", balance=40, held=30),
    (1, 8): lambda: ModelAccount("USD/2", min_balance=None, balance=-GREATEST_AMOUNT + 5),
    (1, 9): lambda: ModelAccount("USD/2", balance=GREATEST_AMOUNT - 5),
    (2, 1): lambda: ModelAccount("USD/2", min_balance=None),
    (2, 12): lambda: ModelAccount("USD/2"),
}
account_ids = st.one_of(st.sampled_from([1, 1, 2, 2, 3, 3, 7]), st.integers(1, 13))
requests = st.builds(
    PostRequest,
    ledger_id=st.sampled_from([1, 1, 1, 1, 2]),
    from_account_id=account_ids,
    to_account_id=account_ids,
    amount=st.one_of(st.integers(1, 40), st.sampled_from([GREATEST_AMOUNT, 2**40])),
    asset=st.sampled_from([None, None, None, "USD/2", "JPY/0"]),
    if_from_version=st.one_of(st.none(), st.none(), st.integers(0, 6)),
    reference=st.sampled_from([None, "r", 'quote " backslash \\ comma , brace {}', "NULL", "é\n"]),
    metadata=st.sampled_from([None, {}, {"a": [1, "ü", None]}, {'"': "\\"}]),
    key=st.sampled_from([None, None, "k1", "k2", "k3", 'odd "\\{},', "NULL"]),
)
batches = st.lists(st.lists(requests, min_size=1, max_size=12), min_size=1, max_size=5)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the pool's own threads do, at any moment
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches)
def test_function_and_model_agree(
    store: PostingRepository, db: psycopg.Connection, given_batches: list[list[PostRequest]]
) -> None:
    """Random batches with repeated accounts and keys and every refusal give equal outcomes and equal tables."""
    empty(db)
    model = Model()
    insert_accounts(db, model, {place: make() for place, make in ACCOUNTS.items()})
    seen: dict[int, int] = {}  # the model's row -> the transfer's id
    for batch in given_batches:
        outcomes = store.post_batch(background(), batch)
        modelled = expected(model, batch, outcomes, seen)
        assert [shown(outcome) for outcome in outcomes] == [(other.verdict, other.replayed) for other in modelled]
    assert tables(db) == model_tables(model)


def expected(
    model: Model, batch: Sequence[PostRequest], outcomes: Sequence[Outcome], seen: dict[int, int]
) -> list[ModelOutcome]:
    """The model's outcomes; asserts along the way that equal rows are equal transfers, with the balances the model has."""
    modelled = model.post(batch)
    for request, outcome, other in zip(batch, outcomes, modelled, strict=True):
        if other.row is None:
            continue
        assert isinstance(outcome, Posted)
        transfer, row = outcome.transfer, model.log[other.row]
        assert seen.setdefault(other.row, transfer.id) == transfer.id
        assert (row.from_version, row.to_version, row.from_balance, row.to_balance, row.asset) == (
            transfer.from_version, transfer.to_version, transfer.from_balance, transfer.to_balance, transfer.asset,
        )
        assert (transfer.reference, transfer.metadata) == (request.reference, request.metadata or {})
    return modelled


def shown(outcome: Outcome) -> tuple[str, bool]:
    """An outcome as the model tells it."""
    return ("posted", outcome.replayed) if isinstance(outcome, Posted) else (f"{outcome.code} {outcome.field}", False)


def empty(db: psycopg.Connection) -> None:
    """Forget everything, which only the tables' owner can do, and only on purpose."""
    for table in ("transfers", "idempotency_keys", "accounts"):
        db.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        db.execute(f"DELETE FROM {table}")
        db.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def tables(db: psycopg.Connection) -> tuple[list[tuple], list[tuple], list[tuple]]:
    """Accounts, transfers in order, and keys with what became of them."""
    accounts = db.execute("SELECT ledger_id, id, balance, held, version, status FROM accounts ORDER BY 1, 2").fetchall()
    log = db.execute(
        "SELECT ledger_id, from_account_id, to_account_id, amount, asset, from_version, to_version, from_balance, to_balance"
        " FROM transfers ORDER BY id"
    ).fetchall()
    keys = db.execute(
        "SELECT k.ledger_id, k.key, k.fingerprint, coalesce(k.refusal, 'posted'), t.from_version, t.to_version"
        " FROM idempotency_keys k LEFT JOIN transfers t ON t.ledger_id = k.ledger_id AND t.id = k.transfer_id ORDER BY 1, 2"
    ).fetchall()
    return accounts, log, sorted(keys)


def model_tables(model: Model) -> tuple[list[tuple], list[tuple], list[tuple]]:
    """The same of the model."""
    accounts = [(*place, a.balance, a.held, a.version, a.status) for place, a in sorted(model.accounts.items())]
    log = [
        (r.ledger_id, r.from_account_id, r.to_account_id, r.amount, r.asset, r.from_version, r.to_version, r.from_balance,
         r.to_balance)
        for r in model.log
    ]
    keys = []
    for (ledger_id, key), (fingerprint, outcome) in model.keys.items():
        row = None if outcome.row is None else model.log[outcome.row]
        versions = (None, None) if row is None else (row.from_version, row.to_version)
        keys.append((ledger_id, key, fingerprint, outcome.verdict, *versions))
    return accounts, log, sorted(keys)
