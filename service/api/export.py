"""/api/transfers/export: the log, or a part of it, as one file of any length."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterable, Sequence

from service.api.calls import Answer, Call, parameters, to_json
from service.api.filters import query_word, read_wanted
from service.api.parameters import WANTED
from service.api.representation import show_transfer
from service.api.routes import Header, Media, Parameter, Route
from service.api.streams import Streams
from service.concurrency.context import Context
from service.concurrency.pipeline import Pipeline
from service.ledger.transfers import Transfer, Transfers

BATCH = 100  # transfers; what is made of them holds the processor for a millisecond
AHEAD = 8  # batches between two stages
COLUMNS = (
    "id", "kind", "status", "from_account_id", "to_account_id", "amount", "asset", "reference", "metadata",
    "from_version", "to_version", "from_balance", "to_balance", "from_held", "created_at", "expires_at",
    "resolves_id", "resolved_by_id", "linked_id",
)
TYPES = {"ndjson": "application/x-ndjson", "csv": "text/csv; charset=utf-8; header=present"}
_FORMAT = Parameter("format", "a JSON object a line, or comma-separated values", {"type": "string", "enum": list(TYPES)})


class ExportHandlers:
    """The handler, with what it needs."""

    def __init__(self, transfers: Transfers, streams: Streams) -> None:
        self._transfers = transfers
        self._streams = streams

    def routes(self) -> Iterable[Route]:
        """The route."""
        yield Route(
            method="GET", path="/api/transfers/export", handler=self.export, scope="transfers:read",
            summary="All transfers, or those wanted, oldest first, as they are at this moment",
            query=(_FORMAT, *WANTED), answers={200: Media(("application/x-ndjson", "text/csv"))}, errors=("overloaded",),
            answer_headers={"Content-Disposition": Header("to be kept as a file of this name")},
        )

    def export(self, call: Call) -> Answer:
        """One transfer a line: read, turned into text and sent at the same time; no more of it is kept than some batches."""
        given = parameters(call, "format", *(parameter.name for parameter in WANTED))
        wanted, form = read_wanted(given), query_word(given, "format", *TYPES) or "ndjson"
        encode = _as_csv if form == "csv" else _as_ndjson
        ledger_id = call.ledger_id

        def pieces(ctx: Context) -> Generator[bytes, None, None]:
            with Pipeline(ctx, capacity=AHEAD, name="export") as line:
                batches = line.generate(self._transfers.export(line.ctx, ledger_id, wanted, batch=BATCH))
                texts = line.results(line.stage(batches, encode))
                yield (_HEADER if form == "csv" else b"") + next(texts, b"")
                yield from texts

        return self._streams.answer(
            call, pieces, Content_Type=TYPES[form], Content_Disposition=f'attachment; filename="transfers.{form}"'
        )


def _as_ndjson(batch: Sequence[Transfer]) -> bytes:
    return b"".join(to_json(show_transfer(transfer)) + b"\n" for transfer in batch)


def _as_csv(batch: Sequence[Transfer]) -> bytes:
    """RFC 4180; what is null is empty, metadata is JSON."""
    text = io.StringIO()
    writer = csv.writer(text)
    for transfer in batch:
        shown = show_transfer(transfer)
        writer.writerow([to_json(shown[name]).decode() if name == "metadata" else shown[name] for name in COLUMNS])
    return text.getvalue().encode()


_HEADER = (",".join(COLUMNS) + "\r\n").encode()
