"""A chunk of many transfers in one round trip: `post_transfers` with a record of the chunk (sql/functions/post_bulk.sql)."""

from __future__ import annotations

from service.concurrency.context import Context
from service.concurrency.primitives import give_way
from service.errors import FieldError, IdempotencyKeyReused
from service.ledger.bulk import Chunk, PostedChunk
from service.ledger.transfers import Outcome
from service.repository.pool import Pool
from service.repository.posting import Arguments, call, encode, outcomes
from service.repository.queries import Queries

SLICE = 50  # transfers; what is made of them holds the processor for a tenth of a millisecond
_SPENT = "This name was used for something else; take a new one for what is new."


class BulkRepository:
    """Implements `ledger.bulk.ChunkStore`."""

    def __init__(self, pool: Pool, queries: Queries) -> None:
        self._pool = pool
        self._post = queries.take("post_bulk")

    def encode(self, chunk: Chunk) -> Arguments:
        """The arguments of `post_bulk`."""
        once = chunk.once
        named: Arguments = dict.fromkeys(("source", "name", "chunk", "digest"))
        if once is not None:
            digest = "\\x" + once.digest.hex()
            named = {"source": once.source, "name": once.name, "chunk": str(once.chunk), "digest": digest}
        return encode(chunk.requests) | named | {"ledger_id": str(chunk.ledger_id)}

    def post_chunk(self, ctx: Context, chunk: Chunk, encoded: Arguments) -> PostedChunk:
        """See the Protocol. One autocommitted statement."""
        rows = call(self._pool, ctx, self._post, encoded)
        if rows and rows[0][0] == "chunk_reused":
            raise IdempotencyKeyReused(_SPENT, fields=(FieldError("Idempotency-Key", _SPENT),))
        found: list[Outcome] = []
        for first in range(0, len(rows), SLICE):
            give_way()
            found += outcomes(chunk.requests[first : first + SLICE], rows[first : first + SLICE])
        return PostedChunk(found, is_awaited=bool(rows) and rows[0][-1])
