"""/api/transfers/import: a file of transfers of any length, read while it is sent."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import partial
from wsgiref.types import WSGIEnvironment

from service.api.body import telling_of_chunks
from service.api.calls import Answer, Call, parameters
from service.api.cursors import Cursors
from service.api.filters import query_text, query_word
from service.api.importing import Import, Report
from service.api.line_forms import FORMS
from service.api.parameters import SEARCHED, WRITTEN
from service.api.positions import HEADER, Positions
from service.api.posting_answers import ImportAnswer
from service.api.routes import Media, Parameter, Route
from service.concurrency.context import Context, background, with_timeout
from service.concurrency.semaphore import Semaphore
from service.errors import FieldError, InvalidInput, MalformedRequest, OutcomeUnknown, Overloaded, UnsupportedMediaType
from service.ledger.bulk import Bulk
from service.middleware.deadline import end_with_client
from service.middleware.environ import END_INPUT

AT_ONCE = 2  # imports in a process
PIECE = 64 * 1024  # bytes
MOST_NAME = 200  # characters
TYPES = {"application/x-ndjson": "ndjson", "text/csv": "csv"}
_STOPPING = "The service is stopping. What was posted stays; the same import under the same name goes on."
_FORMAT = Parameter("format", "the form of the body; without it `Content-Type` says it", {"type": "string", "enum": [*FORMS]})
_NAME = Parameter(
    "name", "the import's own, once for ever: the same file under it again goes on where it was broken off",
    {**SEARCHED, "minLength": 1, "maxLength": MOST_NAME}, required=True,
)


class ImportHandlers:
    """The handler, with what it needs."""

    def __init__(self, bulk: Bulk, cursors: Cursors, *, longest_s: float, draining: Callable[[], bool]) -> None:
        self._bulk = bulk
        self._draining = draining
        self._positions = Positions(cursors)
        self._longest_s = longest_s
        self._free = Semaphore(AT_ONCE)

    def routes(self) -> Iterable[Route]:
        """The route."""
        yield Route(
            method="POST", path="/api/transfers/import", handler=self.create, scope="transfers:write", operation="import",
            summary="Post the transfers of a file, one a line, of any length; lines that are refused harm no other",
            query=(_NAME, _FORMAT), body=Media(tuple(TYPES)), most_body=None, answers={200: ImportAnswer()},
            answer_headers={"Ledger-Position": WRITTEN["Ledger-Position"].where_there_is_one()},
            errors=("idempotency_key_reused", "overloaded"),
        )

    def create(self, call: Call) -> Answer:
        """200 with a report at the end of the file; what was posted before an error stays."""
        given = parameters(call, "name", "format")
        name, form = query_text(given, "name", MOST_NAME), query_word(given, "format", *FORMS) or _form_of(call.environ)
        if name is None:
            message = "required: by it the same file is not imported twice"
            raise InvalidInput(f"name: {message}.", fields=(FieldError("name", message),))
        if not self._free.acquire_nowait():
            raise Overloaded("As many imports as this process takes at once are under way.", retry_after_s=5)
        try:
            with with_timeout(background(), self._timeout_s(call.environ)) as ctx:
                end_with_client(call.environ, ctx)
                work = Import(
                    ledger_id=call.ledger_id, name=name, form=FORMS[form](), may_debit=call.principal.may_debit,
                    trace_parent=call.trace_parent,
                )
                report = Report(name)
                with closing(work.run(ctx, partial(_pieces, environ=call.environ), self._bulk)) as reports:
                    for report in reports:  # noqa: B007  # the last one counts
                        if self._draining():
                            raise OutcomeUnknown(_STOPPING)
                headers = {HEADER: self._positions.tell(call, report.position, ctx)} if report.position else {}
                return Answer(report.shown(), 200, **headers)
        finally:
            self._free.release()

    def _timeout_s(self, environ: WSGIEnvironment) -> float:
        """An import has a maximum of its own, which `Request-Timeout` may shorten."""
        asked = environ.get("HTTP_REQUEST_TIMEOUT")
        return self._longest_s if asked is None else min(float(asked), self._longest_s)


def _form_of(environ: WSGIEnvironment) -> str:
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if media_type not in TYPES:
        raise UnsupportedMediaType(f"Say what is sent: `Content-Type: {' or '.join(TYPES)}`, or the parameter `format`.")
    return TYPES[media_type]


def _pieces(ctx: Context, environ: WSGIEnvironment) -> Generator[bytes, None, None]:
    """The body as it comes. Raises MalformedRequest for one that was cut off, the error of `ctx` when that ends meanwhile."""
    read: Callable[[int], bytes] = environ["wsgi.input"].read
    length = int(environ.get("CONTENT_LENGTH") or 0)
    is_chunked = not length and "HTTP_TRANSFER_ENCODING" in environ
    forget = ctx.on_done(environ.get(END_INPUT, _nothing))  # whoever waits for the client is not to wait for ever
    try:
        while is_chunked or length:
            with telling_of_chunks():
                piece = read(PIECE if is_chunked else min(PIECE, length))
            ctx.check()
            if not piece and is_chunked:
                return
            if not piece:
                raise MalformedRequest("The body ends before its Content-Length: it was cut off.")
            length -= 0 if is_chunked else len(piece)
            yield piece
    finally:
        forget()


def _nothing() -> None:
    """The whole body is there."""
