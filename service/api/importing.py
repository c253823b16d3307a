"""Importing a file of transfers of any length in flat memory: read, split, check, post, all at the same time.

The file is cut into chunks of a fixed number of lines, and each is posted once for ever by the name of the import and the
number of its first line. So an import that was broken off is begun again with the same file and name: what was posted is
replayed, and it goes on. A line that is not acceptable, or that a rule refuses, is told with its number and harms no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

from service.api.bulk import load_item
from service.api.line_forms import Form
from service.api.lines import Fault, Line, in_chunks
from service.api.long_body import SLICE
from service.api.posting import debits_forbidden
from service.api.schemas import BulkItem
from service.concurrency.context import Context
from service.concurrency.pipeline import Pipeline
from service.concurrency.primitives import give_way
from service.concurrency.ratelimit import TokenBucket
from service.errors import FieldError, IdempotencyKeyReused, InvalidInput, LedgerdError, MalformedRequest
from service.ledger.bulk import Bulk, Chunk, Once, telling_what_was_done
from service.ledger.refusals import refusal
from service.ledger.transfers import Outcome, Posted, PostRequest

LINES_IN_A_CHUNK = 100  # part of what a name stands for: see docs/decisions.md before it is changed
AHEAD = 2  # chunks, or pieces of the file, between two stages
CHECKERS = 2
MOST_TOLD = 1000  # refusals in a report
_item = BulkItem()
_REUSED = "This name was used for other lines, or with an API key of other rights; take a new name for what is new."


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a line was not posted: `code` is of the taxonomy, `field` the part of it that is to blame, or empty."""

    line: int
    code: str
    detail: str
    field: str


@dataclass(slots=True)
class Report:
    """What became of the lines of an import. `position` is the ledger's after the last that was posted, or 0."""

    name: str
    lines: int = 0
    posted: int = 0
    replayed: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)
    refusals_left_out: int = 0
    position: int = 0

    def add(self, checked: Checked, outcomes: Sequence[Outcome]) -> None:
        """The next lines: those that came to the rules, with their outcomes, and those that did not."""
        refusals = list(checked.refusals)
        for number, outcome in zip(checked.numbers, outcomes, strict=True):
            if isinstance(outcome, Posted):
                self.replayed += outcome.replayed
                self.posted += not outcome.replayed
                self.position = outcome.position
            else:
                refusals.append(_refused(number, refusal(outcome.code, outcome.field)))
        refusals.sort(key=lambda one: one.line)
        self.lines += len(checked.numbers) + len(checked.refusals)
        self.refused += len(refusals)
        self.refusals += refusals[: MOST_TOLD - len(self.refusals)]
        self.refusals_left_out = self.refused - len(self.refusals)

    def shown(self) -> dict[str, Any]:
        """As it is answered, and printed."""
        return {name: value for name, value in asdict(self).items() if name != "position"}


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in the lines of a chunk: the numbers of those that are transfers, and why the others are not."""

    numbers: Sequence[int]
    refusals: Sequence[Refusal]


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """Which ledger an import is for, by what name, what its owner may debit, and how many lines a second it may post."""

    ledger_id: int
    name: str
    form: Form
    may_debit: Callable[[int], bool] = lambda _account_id: True
    trace_parent: str | None = None
    rate_per_s: float = inf

    def run(self, ctx: Context, pieces: Callable[[Context], Iterable[bytes]], bulk: Bulk) -> Generator[Report, None, None]:
        """Import the file that `pieces(ctx)` reads, until that context ends; the report, again after each chunk.

        Raises InvalidInput for a file whose first line is wrong, IdempotencyKeyReused for a name that is spent for other
        lines, what reading raises, and the errors of `Bulk`.
        """
        report = Report(self.name)
        try:
            with telling_what_was_done() as done, Pipeline(ctx, capacity=AHEAD, name="import") as line:
                chunks = line.transform(line.generate(pieces(line.ctx)), self._chunks)
                checked = line.stage(chunks, self._check, workers=CHECKERS, ordered=True)
                paced = checked if self.rate_per_s == inf else line.stage(checked, self._pace(line.ctx))
                for chunk, outcomes in line.results(bulk.stages(line, paced, done)):
                    report.add(chunk.subject, outcomes)
                    yield report
        except IdempotencyKeyReused as error:
            raise IdempotencyKeyReused(_REUSED + _before(report), fields=(FieldError("name", _REUSED),)) from error
        except MalformedRequest as error:
            raise MalformedRequest(error.message + _before(report)) from error

    def _chunks(self, pieces: Iterator[bytes]) -> Iterator[list[Line]]:
        return in_chunks(self.form.lines(pieces), LINES_IN_A_CHUNK)

    def _check(self, lines: list[Line]) -> Chunk:
        """A chunk of what the lines ask for."""
        requests, numbers, refusals = [], [], []
        digest = hashlib.sha256(self.form.digested)
        for place, (number, text) in enumerate(lines):
            if place % SLICE == 0:
                give_way()
            digest.update(b"\n" + (text if isinstance(text, bytes) else text.encode()))
            try:
                request = self._request(text)
            except LedgerdError as error:
                refusals.append(_refused(number, error))
            else:
                requests.append(request)
                numbers.append(number)
        digest.update(f"\n{numbers}".encode())
        once = Once("import", self.name, lines[0][0], digest.digest())
        return Chunk(self.ledger_id, requests, once, subject=Checked(numbers, refusals))

    def _pace(self, ctx: Context) -> Callable[[Chunk], Chunk]:
        """Hold up each chunk until its lines may be posted."""
        bucket = TokenBucket(rate_per_s=self.rate_per_s, burst=LINES_IN_A_CHUNK)

        def wait(chunk: Chunk) -> Chunk:
            if chunk.requests:
                bucket.wait(ctx, len(chunk.requests))
            return chunk

        return wait

    def _request(self, text: bytes | Fault) -> PostRequest:
        if isinstance(text, Fault):
            raise MalformedRequest(text)
        text = text.removesuffix(b"\r")
        if not text.strip():
            raise MalformedRequest("The line is empty.")
        values = load_item(_item, self.form.read(text))
        if not self.may_debit(values["from_account_id"]):
            raise debits_forbidden(["from_account_id"])
        return PostRequest(ledger_id=self.ledger_id, trace_parent=self.trace_parent, **values)


def _before(report: Report) -> str:
    return f" {report.lines} lines before are imported." if report.lines else ""


def _refused(number: int, error: LedgerdError) -> Refusal:
    detail, name = error.message, error.fields[0].field if error.fields else ""
    if isinstance(error, InvalidInput):
        detail = "; ".join(f"{one.field}: {one.message}" for one in error.fields[:5])
    return Refusal(number, error.code, detail, name)
