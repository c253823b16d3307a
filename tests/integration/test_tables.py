"""What the tables themselves refuse, whoever asks."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from service.concurrency.context import background
from service.ledger.model import Model, ModelAccount
from service.ledger.transfers import PostRequest
from service.repository.posting import PostingRepository
from tests.integration.conftest import insert_accounts


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfers SET amount = 1",
        "DELETE FROM transfers",
        "TRUNCATE transfers",
        "UPDATE idempotency_keys SET refusal = 'x'",
        "DELETE FROM idempotency_keys",
        "DELETE FROM accounts",
        "TRUNCATE accounts",
    ],
)
def test_the_log_is_append_only(store: PostingRepository, db: psycopg.Connection, statement: str) -> None:
    """A trigger refuses to change or remove what was posted, and the row is still there."""
    insert_accounts(db, Model(), {(1, 1): ModelAccount("USD/2", min_balance=None), (1, 2): ModelAccount("USD/2")})
    store.post_batch(background(), [PostRequest(ledger_id=1, from_account_id=1, to_account_id=2, amount=5, key="k")])
    with pytest.raises(errors.RestrictViolation):
        db.execute(statement)
    assert db.execute("SELECT amount FROM transfers").fetchall() == [(5,)]


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("balance = -1", "accounts_floor"),
        ("max_balance = -1", "accounts_ceiling"),
        ("held = -1", "accounts_held_not_negative"),
        ("held = 1", "accounts_floor"),
        ("min_balance = NULL, balance = -9007199254740992", "accounts_balance_range"),
        ("balance = 5, status = 'closed'", "accounts_closed_is_empty"),
        ("status = 'gone'", "accounts_status_known"),
        ("asset = 'usd'", "accounts_asset_shape"),
    ],
)
def test_no_statement_breaks_an_account(db: psycopg.Connection, change: str, constraint: str) -> None:
    """Each rule of an account is a named constraint too."""
    insert_accounts(db, Model(), {(1, 1): ModelAccount("USD/2")})
    with pytest.raises(errors.CheckViolation) as caught:
        db.execute(f"UPDATE accounts SET {change}")
    assert caught.value.diag.constraint_name == constraint


def test_every_constraint_has_a_name_of_ours(db: psycopg.Connection) -> None:
    """No constraint bears a name that PostgreSQL made up, so errors can be told by name. NOT NULL has no error of its own."""
    made_up = db.execute(
        "SELECT conname FROM pg_constraint c JOIN pg_namespace n ON n.oid = connamespace"
        " WHERE nspname = 'public' AND contype <> 'n' AND conname ~ '_(check|fkey|key)[0-9]*$'"
        " AND conname NOT IN ('api_keys_ledger_fkey', 'users_ledger_fkey', 'accounts_ledger_fkey', 'accounts_user_fkey',"
        " 'ledgers_name_key', 'seals_ledger_fkey', 'webhooks_ledger_fkey', 'webhook_deliveries_webhook_fkey')"
    ).fetchall()
    assert made_up == []


def test_ledger_id_leads_every_unique_key_of_a_tenants_table(db: psycopg.Connection) -> None:
    """Rows of two ledgers can never meet: the first column of each unique index is ledger_id."""
    keys = db.execute(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indisunique AND a.attname <> 'ledger_id'"
        " AND c.relname IN ('users', 'accounts', 'transfers', 'idempotency_keys', 'api_keys', 'open_holds',"
        " 'service_instances')"
    ).fetchall()
    assert keys == []


def test_a_balance_change_needs_no_new_index_entry(store: PostingRepository, db: psycopg.Connection) -> None:
    """Updates of a busy account stay on its page (heap-only), thanks to the fill factor and the choice of indexes."""
    insert_accounts(db, Model(), {(1, n): ModelAccount("USD/2", min_balance=None) for n in range(1, 41)})
    for n in range(1, 40):
        store.post_batch(background(), [PostRequest(ledger_id=1, from_account_id=n, to_account_id=n + 1, amount=5)])
    with psycopg.connect(db.info.dsn) as other:
        other.execute("SELECT 1")
    db.execute("SELECT pg_stat_force_next_flush()")
    # The pool's connection reports its counters when it is idle: ask until they are all there.
    for _ in range(200):
        changed, hot = db.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'accounts'"
        ).fetchone() or (0, 0)
        if changed >= 2:
            break
        store.post_batch(background(), [PostRequest(ledger_id=1, from_account_id=1, to_account_id=2, amount=5)])
    assert hot >= changed * 0.9
