"""A batch of transfers in one round trip: encodes requests as slots for `post_transfers`, and its rows as outcomes.

The function (sql/functions/post_transfers.sql) takes each account and each key once, and requests as positions in those
lists. Arrays are sent as PostgreSQL's array text: its type is the same whatever the numbers are, so the statement is
prepared once a connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import errors as pg
from psycopg.pq import TransactionStatus

from service.concurrency.context import Context
from service.concurrency.primitives import give_way
from service.ledger.posting import MOST_IN_A_BATCH, AnswerLost, Contention
from service.ledger.transfers import Outcome, Posted, PostRequest, Refused, Transfer
from service.repository.pool import Pool
from service.repository.queries import Queries

_CONTENTION = (pg.DeadlockDetected, pg.SerializationFailure)
_SPENT_MEANWHILE = ("idempotency_keys_pkey", "bulk_chunks_pkey")  # another lane has just spent a key or a name
Arguments = dict[str, str | None]
Row = tuple[Any, ...]


class PostingRepository:
    """Implements `ledger.posting.BatchStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._post = queries.take("post_transfers")

    def post_batch(self, ctx: Context, requests: Sequence[PostRequest]) -> Sequence[Outcome]:
        """See the Protocol. One autocommitted statement."""
        return outcomes(requests, call(self._pool, ctx, self._post, encode(requests)))


def call(pool: Pool, ctx: Context, statement: str, arguments: Arguments) -> list[Row]:
    """The rows that an autocommitted statement which posts transfers answers.

    Raises Contention, AnswerLost and what `Pool.connection` does. The server says that it was not committed by an error on a
    connection that goes on. Whatever else goes wrong from the sending on, the reading of the answer too, leaves it open.
    """
    with pool.connection(ctx) as conn:
        try:
            cursor = conn.execute(statement, arguments, prepare=True)
        except _CONTENTION as exc:
            raise Contention from exc
        except pg.UniqueViolation as exc:
            if exc.diag.constraint_name in _SPENT_MEANWHILE:
                raise Contention from exc
            raise
        except Exception as exc:
            if conn.info.transaction_status is not TransactionStatus.IDLE:
                raise AnswerLost from exc
            raise
        try:
            rows = cursor.fetchmany(MOST_IN_A_BATCH)
            while len(rows) < cursor.rowcount:
                give_way()
                rows += cursor.fetchmany(MOST_IN_A_BATCH)
            return rows
        except Exception as exc:
            raise AnswerLost from exc


def outcomes(requests: Sequence[PostRequest], rows: Sequence[Row]) -> list[Outcome]:
    """What `rows` say of `requests`, in order. Raises AnswerLost for what cannot be read: it is committed by now."""
    try:
        return [_outcome(request, row) for request, row in zip(requests, rows, strict=True)]
    except Exception as exc:
        raise AnswerLost from exc


def encode(requests: Sequence[PostRequest]) -> Arguments:
    """The arguments of `post_transfers` for `requests`; what no request uses is None."""
    accounts = sorted({(r.ledger_id, side) for r in requests for side in (r.from_account_id, r.to_account_id)})
    slot = {account: n for n, account in enumerate(accounts, 1)}
    keys = sorted({(r.ledger_id, r.key) for r in requests if r.key is not None})
    key_slot = {key: n for n, key in enumerate(keys, 1)}
    return {
        "ledgers": _integers(ledger_id for ledger_id, _ in accounts),
        "accounts": _integers(account_id for _, account_id in accounts),
        "key_ledgers": _integers(ledger_id for ledger_id, _ in keys) if keys else None,
        "keys": _texts([key for _, key in keys]),
        "from": _integers(slot[r.ledger_id, r.from_account_id] for r in requests),
        "to": _integers(slot[r.ledger_id, r.to_account_id] for r in requests),
        "amount": _integers(r.amount for r in requests),
        "asset": _texts([r.asset for r in requests]),
        "if_version": _optional_integers([r.if_from_version for r in requests]),
        "key": _optional_integers([None if r.key is None else key_slot[r.ledger_id, r.key] for r in requests]),
        "fingerprint": _texts([None if r.key is None else "\\x" + r.fingerprint().hex() for r in requests]),
        "reference": _texts([r.reference for r in requests]),
        "metadata": _texts([json.dumps(r.metadata) if r.metadata else None for r in requests]),
    }


def _integers(values: Iterable[int]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _optional_integers(values: Sequence[int | None]) -> str | None:
    if all(value is None for value in values):
        return None
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"


def _texts(values: Sequence[str | None]) -> str | None:
    if all(value is None for value in values):
        return None
    quoted = ("NULL" if v is None else '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values)
    return "{" + ",".join(quoted) + "}"


def _outcome(request: PostRequest, row: Row) -> Outcome:
    verdict, replayed, transfer_id, asset, from_version, to_version, from_balance, to_balance, created_at, position = row
    if transfer_id is None:
        code, _, field = verdict.partition(" ")
        return Refused(code, field)
    transfer = Transfer(
        transfer_id, request.from_account_id, request.to_account_id, request.amount, asset, request.reference,
        request.metadata or {}, from_version, to_version, from_balance, to_balance, created_at,
    )
    return Posted(transfer, replayed, position)
