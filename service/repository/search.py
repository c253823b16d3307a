"""Search in PostgreSQL: words by a table that triggers keep, references by their index, ids by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from psycopg.rows import args_row

from service.concurrency.context import Context
from service.ledger.accounts import Account
from service.ledger.search import KINDS, Found, Hit, Kind, Rank
from service.ledger.transfers import Transfer
from service.ledger.user import User
from service.repository.pool import PgConnection
from service.repository.queries import Queries
from service.repository.reader import Reader

_THINGS: dict[Kind, type[User] | type[Account] | type[Transfer]] = {"user": User, "account": Account, "transfer": Transfer}


class SearchRepository:
    """Implements `ledger.search.SearchStore`."""

    def __init__(self, reader: Reader, queries: Queries) -> None:
        self._reader = reader
        self._words = queries.take("search_words")
        self._references = queries.take("search_references")
        self._by_ids: dict[Kind, str] = {kind: queries.take(f"search_{kind}s_by_ids") for kind in KINDS}

    def search(self, ctx: Context, ledger_id: int, text: str, *, number: int | None, limit: int) -> Sequence[Found]:
        """See the Protocol. One connection, a statement for words, one for references, and one a kind for what was found."""

        def read(conn: PgConnection) -> Sequence[Found]:
            hits = self._hits(conn, {"ledger_id": ledger_id, "text": text, "limit": limit})
            if number is not None:
                hits += [Hit(kind, number, Rank.ID) for kind in KINDS]
            best = {(hit.kind, hit.id): hit.rank for hit in sorted(hits, key=lambda hit: hit.rank)}
            return [
                Found(kind, best[kind, thing.id], thing)
                for kind in KINDS
                for thing in self._things(conn, kind, ledger_id, [hit for hit in best if hit[0] == kind])
            ]

        return self._reader.read(ctx, read)

    def _hits(self, conn: PgConnection, asked: dict[str, Any]) -> list[Hit]:
        words = conn.execute(self._words, asked, prepare=True).fetchall()
        references = conn.execute(self._references, asked, prepare=True).fetchall()
        found = [*words, *(("transfer", *row) for row in references)]
        return [Hit(cast(Kind, kind), id_, Rank.WHOLE if whole else Rank.BEGINS) for kind, id_, whole in found]

    def _things(
        self, conn: PgConnection, kind: Kind, ledger_id: int, wanted: list[tuple[Kind, int]]
    ) -> Sequence[User | Account | Transfer]:
        """In the order of `wanted`; what has gone meanwhile is left out."""
        if not wanted:
            return ()
        ids = [id_ for _, id_ in wanted]
        with conn.cursor(row_factory=args_row(_THINGS[kind])) as cursor:
            cursor.execute(self._by_ids[kind], {"ledger_id": ledger_id, "ids": ids}, prepare=True)
            things = {thing.id: thing for thing in cast(list[User | Account | Transfer], cursor.fetchall())}
        return [things[id_] for id_ in ids if id_ in things]
