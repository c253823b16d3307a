"""`Ledger-Position`: told after a write, and asked for by a read that must see it. A signed word, good in its ledger alone."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.api.calls import Call
from service.api.cursors import Cursors
from service.concurrency.context import Context, with_value
from service.errors import FieldError, InvalidInput
from service.ledger.position import POSITIONS
from service.middleware.environ import CONTEXT, PRINCIPAL

HEADER = "Ledger-Position"
BROUGHT = "ledgerd.positions"  # the Positions by which the header is read, where there is one
MOST = 8  # positions in one header: a client may have written by several connections


class Positions:
    """Makes and reads the header."""

    def __init__(self, cursors: Cursors) -> None:
        self._cursors = cursors

    def tell(self, call: Call, position: int, ctx: Context | None = None) -> str:
        """The header's value for a position of the call's ledger; with `ctx` where the call's own may have ended."""
        return self._cursors.issue(ctx or call.ctx, _scope(call.ledger_id), position)

    def read(self, ctx: Context, ledger_id: int, header: str) -> tuple[int, ...]:
        """The positions in a header, with commas between them. Raises InvalidInput for what no write has told."""
        words = [word.strip() for word in header.split(",")]
        if len(words) > MOST:
            message = f"expected at most {MOST} positions"
            raise InvalidInput(f"{HEADER}: {message}.", fields=(FieldError(HEADER, message),))
        try:
            return tuple(self._cursors.position(ctx, _scope(ledger_id), word) for word in words)
        except InvalidInput:
            message = "not a position of this ledger; take the header as the answer to a write has it"
            raise InvalidInput(f"{HEADER}: {message}.", fields=(FieldError(HEADER, message),)) from None


def carry_positions(app: WSGIApplication, positions: Positions) -> WSGIApplication:
    """`app`, with what the route needs to read the positions of a request, once it knows that the call may come there."""

    def with_positions(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "HTTP_LEDGER_POSITION" in environ:
            environ[BROUGHT] = positions
        return app(environ, start_response)

    return with_positions


def brought(environ: WSGIEnvironment) -> Context:
    """The request's context with the positions that it brings: they go with it down to the choice of a server.

    Only where `BROUGHT` is set. Raises InvalidInput for what no write has told.
    """
    ctx: Context = environ[CONTEXT]
    positions: Positions = environ[BROUGHT]
    return with_value(ctx, POSITIONS, positions.read(ctx, environ[PRINCIPAL].ledger_id, environ["HTTP_LEDGER_POSITION"]))


def _scope(ledger_id: int) -> str:
    return f"position {ledger_id}"
