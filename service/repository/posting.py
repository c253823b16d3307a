"""A batch of transfers in one round trip: encodes requests as slots for `post_transfers`, and its rows as outcomes.

The function (sql/functions/post_transfers.sql) takes each account, each key and each row that is resolved once, and requests
as positions in those lists. Arrays are sent as PostgreSQL's array text: its type is the same whatever the numbers are, so the
statement is prepared once a connection.
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
from service.ledger.transfers import NOT_POSTED, Outcome, Posted, PostRequest, Refused, Transfer
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
        **(_PLAIN if all(map(_is_plain, requests)) else _encode_special(requests)),
    }


def _is_plain(request: PostRequest) -> bool:
    return request.kind == "transfer" and request.group is None and not request.dry_run


_PLAIN = dict.fromkeys(("kind", "original_ledgers", "originals", "resolves", "expires_in_s", "group", "dry_run"))


def _encode_special(requests: Sequence[PostRequest]) -> Arguments:
    """The arguments that transfers on their own do not use."""
    originals = sorted({(r.ledger_id, r.resolves_id) for r in requests if r.resolves_id is not None})
    slot = {original: n for n, original in enumerate(originals, 1)}
    has_kinds = any(r.kind != "transfer" for r in requests)
    return {
        "kind": _texts([r.kind for r in requests]) if has_kinds else None,
        "original_ledgers": _integers(ledger_id for ledger_id, _ in originals) if originals else None,
        "originals": _integers(original_id for _, original_id in originals) if originals else None,
        "resolves": _optional_integers([r.resolves_id and slot[r.ledger_id, r.resolves_id] for r in requests]),
        "expires_in_s": _optional_integers([r.expires_in_s for r in requests]),
        "group": _optional_integers(_group_numbers(requests)),
        "dry_run": _texts(["true" if r.dry_run else None for r in requests]),
    }


def _group_numbers(requests: Sequence[PostRequest]) -> list[int | None]:
    """A number for each group; one that is but tried is a group of its own, where it is in none."""
    numbers: list[int | None] = []
    number, last = 0, None
    for request in requests:
        if request.group is None:
            number += request.dry_run
            numbers.append(number if request.dry_run else None)
        else:
            number += request.group is not last
            numbers.append(number)
        last = request.group
    return numbers


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
    (
        verdict, replayed, transfer_id, asset, from_version, to_version, from_balance, to_balance, created_at,
        from_held, expires_at, linked_id, resolved_by_id, resolved_as, position, *_,
    ) = row
    if verdict != "posted":
        code, field, *leg = verdict.split(" ")
        return Refused(code, field, int(leg[0]) if leg and request.group is not None else None)
    transfer = Transfer(
        transfer_id or NOT_POSTED, request.from_account_id, request.to_account_id, request.amount, asset, request.reference,
        request.metadata or {}, from_version, to_version, from_balance, to_balance, created_at,
        request.kind, from_held, request.resolves_id, expires_at, linked_id, resolved_by_id, resolved_as,
    )
    return Posted(transfer, replayed, position)
