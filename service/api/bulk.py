"""/api/transfers/bulk: up to 10,000 transfers in one request, each on its own or all as one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.api.body import read_raw
from service.api.calls import Answer, Call, to_json
from service.api.cursors import Cursors
from service.api.long_body import SLICE, read_long
from service.api.parameters import WRITTEN
from service.api.positions import HEADER, Positions
from service.api.posting import IDEMPOTENCY_KEY, debits_forbidden, idempotency_key
from service.api.posting_answers import BulkAnswer
from service.api.problem import STATUS
from service.api.routes import Route
from service.api.schemas import MOST_IN_BULK, BulkInput, BulkItem, load
from service.concurrency.primitives import give_way
from service.concurrency.semaphore import Semaphore
from service.errors import FieldError, InvalidInput, Overloaded
from service.ledger.bulk import MOST_IN_A_CHUNK, Bulk, Chunk, Once
from service.ledger.refusals import refusal
from service.ledger.transfers import Group, Outcome, Posted, PostRequest, Refused

AT_ONCE = 8  # requests in a process: one is at the database, the others are read or wait
MOST_BODY = 8 << 20  # bytes: 800 for each transfer
MOST_PROBLEMS = 100  # that are told of one request
_ONE_KEY = "what is posted as a whole has one key, that of the request"


class BulkHandlers:
    """The handler, with what it needs."""

    def __init__(self, bulk: Bulk, cursors: Cursors) -> None:
        self._bulk = bulk
        self._positions = Positions(cursors)
        self._input, self._item = BulkInput(), BulkItem()
        self._free = Semaphore(AT_ONCE)

    def routes(self) -> Iterable[Route]:
        """The route."""
        yield Route(
            method="POST", path="/api/transfers/bulk", handler=self.create, scope="transfers:write", operation="create_many",
            summary=f"Post up to {MOST_IN_BULK} transfers, each on its own or all as one; with an `Idempotency-Key`, once",
            headers=(IDEMPOTENCY_KEY,), body=self._input, most_body=MOST_BODY, answers={200: BulkAnswer()},
            answer_headers={"Ledger-Position": WRITTEN["Ledger-Position"].where_there_is_one()},
            errors=(
                "not_found", "version_mismatch", "insufficient_funds", "asset_mismatch", "account_closed", "account_frozen",
                "same_account", "limit_exceeded", "idempotency_key_reused", "overloaded",
            ),
        )

    def create(self, call: Call) -> Answer:
        """200 with what became of each, in order; an error when nothing was posted, or when it is not known what was."""
        if not self._free.acquire_nowait():
            raise Overloaded("As many bulk requests as this process takes at once are under way.", retry_after_s=1)
        try:
            return self._create(call)
        finally:
            self._free.release()

    def _create(self, call: Call) -> Answer:
        key = idempotency_key(call.environ)
        body = load(self._input, read_long(read_raw(call.environ), "transfers", MOST_IN_BULK))
        requests, mode = self._requests(call, body), body["mode"]
        digest = b"" if key is None else digest_of(requests, mode)
        if mode == "atomic":
            requests = _linked(requests, digest)
        once = None if key is None else Once("bulk", key, 0, digest)
        results = _Results(mode)
        for _, outcomes in self._bulk.post(call.ctx, _chunks(call.ledger_id, requests, once)):
            results.add(outcomes)
        headers = {HEADER: self._positions.tell(call, results.position)} if results.position else {}
        return Answer(results.json(), 200, **headers)

    def _requests(self, call: Call, body: Mapping[str, Any]) -> list[PostRequest]:
        """The transfers as requests. Raises InvalidInput that names what is wrong with them, Forbidden for debits."""
        requests: list[PostRequest] = []
        problems: list[FieldError] = []
        ledger_id, trace_parent = call.ledger_id, call.trace_parent
        for number, item in enumerate(body["transfers"]):
            if number % SLICE == 0:
                give_way()
            try:
                values = load_item(self._item, item)
            except InvalidInput as error:
                problems += [_within(number, field) for field in error.fields]
                if len(problems) >= MOST_PROBLEMS:
                    break
            else:
                if values["key"] is not None and body["mode"] == "atomic":
                    problems.append(FieldError(f"transfers[{number}].idempotency_key", _ONE_KEY))
                requests.append(PostRequest(ledger_id=ledger_id, trace_parent=trace_parent, **values))
        if problems:
            message = "Some transfers are not acceptable; nothing was posted."
            raise InvalidInput(message, fields=tuple(problems[:MOST_PROBLEMS]))
        if call.principal.debit_accounts is not None:
            forbidden = [n for n, request in enumerate(requests) if not call.principal.may_debit(request.from_account_id)]
            if forbidden:
                fields = (f"transfers[{number}].from_account_id" for number in forbidden[:MOST_PROBLEMS])
                raise debits_forbidden(fields, "This API key may debit some accounts only; nothing was posted.")
        return requests


def load_item(schema: BulkItem, item: Any) -> dict[str, Any]:
    """What `PostRequest` takes of an item. Raises InvalidInput."""
    if type(item) is not dict:
        raise InvalidInput("Expected an object.", fields=(FieldError("", "expected an object"),))
    values = load(schema, item)
    values["key"] = values.pop("idempotency_key")
    values["kind"] = "hold" if values.pop("hold") else "transfer"
    return values


def digest_of(requests: Sequence[PostRequest], mode: str) -> bytes:
    """32 bytes that are equal for bulk requests that ask for the same thing."""
    digest = hashlib.sha256(mode.encode())
    for number, request in enumerate(requests):
        if number % SLICE == 0:
            give_way()
        digest.update(request.fingerprint())
        digest.update(b"" if request.key is None else hashlib.sha256(request.key.encode()).digest())
    return digest.digest()


def _linked(requests: Sequence[PostRequest], digest: bytes) -> list[PostRequest]:
    """They are posted all or none."""
    group, linked = Group(digest), []
    for number, request in enumerate(requests):
        if number % SLICE == 0:
            give_way()
        linked.append(replace(request, group=group))
    return linked


def _chunks(ledger_id: int, requests: Sequence[PostRequest], once: Once | None) -> Iterator[Chunk]:
    """A group is one chunk, however many they are."""
    size = MOST_IN_A_CHUNK if requests[0].group is None else len(requests)
    for first in range(0, len(requests), size):
        yield Chunk(ledger_id, requests[first : first + size], once and replace(once, chunk=first))


def _within(number: int, field: FieldError) -> FieldError:
    return FieldError(f"transfers[{number}].{field.field}" if field.field else f"transfers[{number}]", field.message)


class _Results:
    """What became of the transfers, as it is answered. `position` is the ledger's after the last that was posted, or 0."""

    def __init__(self, mode: str) -> None:
        self._mode = mode
        self._shown: list[bytes] = []
        self._posted = self._replayed = 0
        self.position = 0

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """The next ones. Raises the error of a group that is refused."""
        for outcome in outcomes:
            if isinstance(outcome, Posted):
                made = outcome.transfer
                self._replayed += outcome.replayed
                self._posted += not outcome.replayed
                self._shown.append(
                    b'{"status":%d,"id":%d,"from_version":%d,"to_version":%d,"from_balance":%d,"to_balance":%d}'
                    % (
                        200 if outcome.replayed else 201, made.id,
                        made.from_version, made.to_version, made.from_balance, made.to_balance,
                    )
                )
                self.position = outcome.position
            elif outcome.leg is not None:
                raise refusal(outcome.code, outcome.field, outcome.leg)
            else:
                self._shown.append(_show_refused(outcome))

    def json(self) -> bytes:
        """All of it."""
        refused = len(self._shown) - self._posted - self._replayed
        head = b'{"mode":"%s","posted":%d,"replayed":%d,"refused":%d,"results":[' % (
            self._mode.encode(), self._posted, self._replayed, refused,
        )
        return head + b",".join(self._shown) + b"]}"


def _show_refused(refused: Refused) -> bytes:
    error = refusal(refused.code, refused.field)
    fields = [{"field": field.field, "message": field.message} for field in error.fields]
    return to_json({"status": STATUS[error.code], "code": error.code, "detail": error.message, "errors": fields})
