"""The examination of ledgers against their seals and their own rules: what there is, in parts for several processes.

A part of rows has whole seals, a part of entries whole accounts or a stretch of one large account. Seals and accounts are read
by cursors, so memory does not grow with the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.rows import args_row

from service.audit.chain import Chain
from service.audit.findings import LEAST, Finding, Part, Size, StoredSeal
from service.errors import NotFound, Unavailable
from service.repository.migrate import standing
from service.repository.queries import Queries

ROWS = 40_000  # in a part, about
CURSOR_ROWS = 1_000


class Verification:
    """What is to be examined, seen on `conn`, whose snapshot the parts are examined on too.

    `findings` are those of the seals among themselves and those of no ledger, `unmet` the hashes of `expected` that no seal
    has: both are complete when `parts` is exhausted.
    """

    def __init__(self, conn: Connection[Any], sql: Path, expected: frozenset[bytes] = frozenset()) -> None:
        """Raises Unavailable for a database that has not every migration."""
        self._conn = conn
        if missing := standing(conn, sql).missing:
            first = f"{missing[0].version:04} ({missing[0].name})"
            raise Unavailable(f"the database lacks migration {first}: run `ledgerd migrate`")
        self._queries = Queries(sql / "verify")
        self.unmet = set(expected)
        self.findings: list[Finding] = [
            Finding("ledger_gone", f"#{ledger_id}", row_id, None, None, "no such ledger", "the ledger of this row")
            for ledger_id, row_id in conn.execute(self._queries.take("find_strays")).fetchall()
        ]

    def sizes(self, ledger: str | None) -> list[Size]:
        """What there is in each ledger, or in the one that is named. Raises NotFound."""
        ledgers = self._conn.execute(self._queries.take("list_ledgers"), {"name": ledger}).fetchall()
        if ledger is not None and not ledgers:
            raise NotFound(f"No ledger {ledger!r}; `ledgerd ledger list` shows them.")
        find_size = self._queries.take("find_size")
        return [
            Size(*found, *row)
            for found in ledgers
            for row in self._conn.execute(find_size, {"ledger_id": found[0]})
        ]

    def parts(self, sizes: list[Size]) -> Iterator[Part]:
        """Everything in the ledgers of `sizes`, in parts."""
        for size in sizes:
            yield Part(kind="sums", ledger_id=size.ledger_id, ledger=size.ledger, weight=0)
            yield from self._rows(size)
            yield from self._entries(size)

    def _rows(self, size: Size) -> Iterator[Part]:
        chain = Chain(size.ledger_id, size.ledger)
        after = begins_after = LEAST
        weight, seals = 0, list[tuple[int, StoredSeal]]()
        for seal in self._read("read_seals", size, StoredSeal):
            follows = seal.number == chain.number + 1  # else the rows of those that are gone are not put to its account
            seals.append((begins_after if follows else seal.first_id - 1, seal))
            self.findings += chain.show(seal)
            self.unmet.discard(seal.hash)
            begins_after = max(begins_after, seal.last_id)
            weight += seal.transfers
            if weight >= ROWS or len(seals) >= CURSOR_ROWS:
                yield self._part("rows", size, weight, after=after, until=begins_after, seals=tuple(seals))
                after, weight, seals = begins_after, 0, []
        if seals:
            yield self._part("rows", size, weight, after=after, until=begins_after, seals=tuple(seals))
            after = begins_after
        find_bound = self._queries.take("find_bound")
        while True:
            where = {"ledger_id": size.ledger_id, "after_id": after, "rows": ROWS}
            bound = self._conn.execute(find_bound, where).fetchone()
            if bound is None:
                yield self._part("rows", size, size.unsealed % ROWS, after=after)
                return
            yield self._part("rows", size, ROWS, after=after, until=bound[0])
            (after,) = bound

    def _entries(self, size: Size) -> Iterator[Part]:
        after = last = LEAST
        weight = 0
        for account_id, version in self._read("read_accounts", size):
            if weight and weight + version > ROWS:
                yield self._part("entries", size, weight, after=after, until=last)
                after, weight = last, 0
            if version > 2 * ROWS:
                if account_id - 1 > after:
                    yield self._part("entries", size, 0, after=after, until=account_id - 1)
                yield from self._stretches(size, account_id, version)
                after, weight = account_id, 0
            else:
                weight += version
            last = account_id
        yield self._part("entries", size, weight, after=after)

    def _stretches(self, size: Size, account_id: int, version: int) -> Iterator[Part]:
        """One large account in parts; the last has no end, for what the account does not know of."""
        for low in range(0, version, ROWS):
            is_last = low + ROWS >= version
            span = {"after": account_id - 1, "until": account_id}
            if low > 0:
                span["after_version"] = low
            if not is_last:
                span["until_version"] = low + ROWS
            yield self._part("entries", size, version - low if is_last else ROWS, **span)

    def _part(self, kind: Any, size: Size, weight: int, **span: Any) -> Part:
        return Part(kind=kind, ledger_id=size.ledger_id, ledger=size.ledger, weight=weight, **span)

    def _read(self, query: str, size: Size, into: Any = None) -> Iterator[Any]:
        with self._conn.cursor(query) as cursor:
            if into is not None:
                cursor.row_factory = args_row(into)
            cursor.itersize = CURSOR_ROWS
            yield from cursor.execute(self._queries.take(query), {"ledger_id": size.ledger_id})
