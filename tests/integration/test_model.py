"""The SQL function and the model in plain Python agree: on every outcome, and on every table afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.concurrency.context import background
from service.ledger.model import Model, ModelAccount, ModelTransfer
from service.ledger.money import GREATEST_AMOUNT
from service.ledger.transfers import NOT_POSTED, Kind, Outcome, Posted, PostRequest, Transfer, link
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
    (1, 10): lambda: ModelAccount("USD/2", min_balance=None, held=GREATEST_AMOUNT - 20),
    (2, 1): lambda: ModelAccount("USD/2", min_balance=None),
    (2, 12): lambda: ModelAccount("USD/2"),
}
HOUR_S = 3600
OPENING = [  # so that there is something to do something to, from the beginning
    PostRequest(ledger_id=1, from_account_id=source, to_account_id=target, amount=amount, kind=kind, expires_in_s=expires_in_s)
    for kind, source, target, amount, expires_in_s in [
        ("transfer", 1, 2, 100, None), ("transfer", 1, 3, 50, None), ("transfer", 2, 3, 5, None), ("hold", 2, 3, 7, HOUR_S),
        ("hold", 1, 2, 10, None), ("hold", 2, 1, 9, None), ("hold", 1, 3, 4, 2 * HOUR_S), ("hold", 3, 1, 6, HOUR_S),
    ]
]
account_ids = st.one_of(st.sampled_from([1, 1, 2, 2, 3, 3, 7]), st.integers(1, 13))
posts = st.builds(
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
    kind=st.sampled_from(["transfer", "transfer", "hold"]),
    dry_run=st.sampled_from([False, False, False, True]),
)
likely = st.builds(  # to be posted
    lambda source, amount, kind, key: PostRequest(
        ledger_id=1, from_account_id=source, to_account_id=source % 3 + 1, amount=amount, kind=kind, key=key
    ),
    st.sampled_from([1, 2, 3]), st.integers(1, 9), st.sampled_from(["transfer", "hold"]), st.sampled_from([None, None, "k5"]),
)


@dataclass(frozen=True)
class Wish:
    """To do something to a row that was posted before this batch: the one that `pick` leads to."""

    kind: Kind
    pick: int
    suits: bool  # is it of a kind that this may be done to?
    more: int  # than there is
    is_elsewhere: bool
    key: str | None
    dry_run: bool

    def request(self, model: Model, ids: dict[int, int]) -> PostRequest:
        """What is asked for, of what the log has by now."""
        known = [(ids[place], row) for place, row in enumerate(model.log)]
        if self.suits:
            kinds = ("transfer", "capture") if self.kind == "reversal" else ("hold",)
            known = [(number, row) for number, row in known if row.kind in kinds]
        original_id, row = known[self.pick % len(known)]
        sides = (row.from_account_id, row.to_account_id)
        source, target = sides[::-1] if (self.kind == "reversal") != self.is_elsewhere else sides
        return PostRequest(
            ledger_id=row.ledger_id, from_account_id=source, to_account_id=target, amount=max(row.amount + self.more, 1),
            key=self.key, kind=self.kind, resolves_id=original_id, dry_run=self.dry_run,
        )


wishes = st.builds(
    Wish,
    kind=st.sampled_from(["capture", "release", "expiry", "reversal"]),
    pick=st.integers(0, 40),
    suits=st.sampled_from([True, True, True, False]),
    more=st.sampled_from([0, 0, 0, 0, -3, 1]),
    is_elsewhere=st.sampled_from([False] * 9 + [True]),
    key=st.sampled_from([None, None, None, "k1", "k4"]),
    dry_run=st.sampled_from([False, False, False, True]),
)
lasting = st.builds(
    lambda request, expires_in_s: replace(request, expires_in_s=expires_in_s if request.kind == "hold" else None),
    posts, st.sampled_from([None, HOUR_S, HOUR_S]),
)
groups = st.lists(st.one_of(likely, likely, likely, lasting, wishes), min_size=1, max_size=4)
batches = st.lists(st.one_of(lasting, likely, wishes, wishes, groups), min_size=1, max_size=12)
steps = st.lists(st.one_of(batches, batches, batches, st.just("an hour passes")), min_size=1, max_size=6)


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the pool's own threads do, at any moment
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps)
def test_function_and_model_agree(store: PostingRepository, db: psycopg.Connection, given_steps: list) -> None:
    """Random batches of every kind with repeated accounts, keys, holds and groups give equal outcomes and equal tables."""
    empty(db)
    model = Model()
    insert_accounts(db, model, {place: make() for place, make in ACCOUNTS.items()})
    ids: dict[int, int] = {}  # the model's row -> the transfer's id
    for step in [OPENING, *given_steps]:
        if step == "an hour passes":
            model.now += timedelta(seconds=HOUR_S)
            pass_an_hour(db)
        else:
            batch = made_of(step, model, ids)
            compare(model, batch, store.post_batch(background(), batch), ids)
    assert tables(db) == model_tables(model)


def made_of(step: list, model: Model, ids: dict[int, int]) -> list[PostRequest]:
    """The requests of a batch; what is together in a list becomes a group, of one ledger and one key."""
    batch: list[PostRequest] = []
    for each in step:
        if not isinstance(each, list):
            batch.append(each.request(model, ids) if isinstance(each, Wish) else each)
            continue
        legs = [leg.request(model, ids) if isinstance(leg, Wish) else leg for leg in each]
        legs = [replace(leg, ledger_id=legs[0].ledger_id, key=legs[0].key, dry_run=legs[0].dry_run) for leg in legs]
        batch += link(legs)
    return batch


def compare(model: Model, batch: Sequence[PostRequest], outcomes: Sequence[Outcome], ids: dict[int, int]) -> None:
    """Assert that the model tells the same; equal rows are equal transfers, with the balances the model has."""
    modelled = model.post(batch)
    assert [shown(outcome) for outcome in outcomes] == [(other.verdict, other.replayed) for other in modelled]
    for request, outcome, other in zip(batch, outcomes, modelled, strict=True):
        if not isinstance(outcome, Posted):
            continue
        transfer = outcome.transfer
        if other.row is None:
            assert other.tried is not None
            assert (transfer.id, transfer.linked_id) == (NOT_POSTED, None)
            assert told(transfer) == told(other.tried)
            continue
        row = model.log[other.row]
        assert ids.setdefault(other.row, transfer.id) == transfer.id
        model.named[row.ledger_id, transfer.id] = other.row
        assert told(transfer) == told(row)
        assert (transfer.reference, transfer.metadata) == (request.reference, request.metadata or {})
        assert transfer.linked_id == (None if row.linked is None else ids[row.linked])
        assert (transfer.expires_at is None) == (row.expires_at is None)


def told(row: Transfer | ModelTransfer) -> tuple:
    """What both tell of a row."""
    return (row.kind, row.amount, row.asset, row.from_version, row.to_version, row.from_balance, row.to_balance, row.from_held)


def shown(outcome: Outcome) -> tuple[str, bool]:
    """An outcome as the model tells it."""
    if isinstance(outcome, Posted):
        return "posted", outcome.replayed
    return f"{outcome.code} {outcome.field}" + ("" if outcome.leg is None else f" {outcome.leg}"), False


def pass_an_hour(db: psycopg.Connection) -> None:
    """Move the ends of all holds back by an hour: the log is changed on purpose, as only the tables' owner can."""
    db.execute("ALTER TABLE transfers DISABLE TRIGGER USER")
    for table in ("transfers", "open_holds"):
        db.execute(f"UPDATE {table} SET expires_at = expires_at - interval '1 hour' WHERE expires_at IS NOT NULL")
    db.execute("ALTER TABLE transfers ENABLE TRIGGER USER")


def empty(db: psycopg.Connection) -> None:
    """Forget everything, likewise."""
    db.execute("DELETE FROM open_holds")
    for table in ("transfers", "idempotency_keys", "accounts"):
        db.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        db.execute(f"DELETE FROM {table}")
        db.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def tables(db: psycopg.Connection) -> list[list[tuple]]:
    """Accounts, transfers in order, keys with what became of them, and open holds."""
    accounts = db.execute("SELECT ledger_id, id, balance, held, version, status FROM accounts ORDER BY 1, 2").fetchall()
    log = db.execute(
        "SELECT t.ledger_id, t.from_account_id, t.to_account_id, t.amount, t.asset, t.from_version, t.to_version,"
        " t.from_balance, t.to_balance, t.from_held, t.kind, o.from_version, o.to_version, l.from_version, l.to_version"
        " FROM transfers t LEFT JOIN transfers o ON o.ledger_id = t.ledger_id AND o.id = t.resolves_id"
        " LEFT JOIN transfers l ON l.ledger_id = t.ledger_id AND l.id = t.linked_id ORDER BY t.id"
    ).fetchall()
    keys = db.execute(
        "SELECT k.ledger_id, k.key, k.fingerprint, coalesce(k.refusal, 'posted'), t.from_version, t.to_version"
        " FROM idempotency_keys k LEFT JOIN transfers t ON t.ledger_id = k.ledger_id AND t.id = k.transfer_id ORDER BY 1, 2"
    ).fetchall()
    holds = db.execute(
        "SELECT h.ledger_id, h.from_account_id, h.to_account_id, h.amount, t.from_version FROM open_holds h"
        " JOIN transfers t ON t.ledger_id = h.ledger_id AND t.id = h.transfer_id AND h.expires_at IS NOT DISTINCT FROM"
        " t.expires_at ORDER BY transfer_id"
    ).fetchall()
    return [accounts, log, sorted(keys), holds]


def model_tables(model: Model) -> list[list[tuple]]:
    """The same of the model."""
    accounts = [(*place, a.balance, a.held, a.version, a.status) for place, a in sorted(model.accounts.items())]
    log = [
        (r.ledger_id, r.from_account_id, r.to_account_id, r.amount, r.asset, r.from_version, r.to_version, r.from_balance,
         r.to_balance, r.from_held, r.kind, *versions(model, r.resolves), *versions(model, r.linked))
        for r in model.log
    ]
    keys = [
        (ledger_id, key, fingerprint, outcomes[0].verdict, *versions(model, outcomes[0].row))
        for (ledger_id, key), (fingerprint, outcomes) in model.keys.items()
    ]
    holds = [
        (r.ledger_id, r.from_account_id, r.to_account_id, r.amount, r.from_version)
        for r in (model.log[place] for place in model.open_holds())
    ]
    return [accounts, log, sorted(keys), holds]


def versions(model: Model, place: int | None) -> tuple[int | None, int | None]:
    """Of the row at a place in the log, which they identify."""
    return (None, None) if place is None else (model.log[place].from_version, model.log[place].to_version)
