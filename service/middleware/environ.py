"""What the middleware leaves in the WSGI environment for those further in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ANSWER_HEADERS = "ledgerd.answer_headers"  # a list of (name, value): what is added to the answer's headers
ANSWER_STATUS = "ledgerd.answer_status"  # int, once the answer begins; 0 before
CONTEXT = "ledgerd.context"  # the request's Context
REQUEST_ID = "ledgerd.request_id"  # str
KEY_REPEATED = "ledgerd.key_repeated"  # the server's: True where `Idempotency-Key` came more than once, and so is joined
CLIENT_LEFT = "ledgerd.client_left"  # the server's: register a function to be called when the client leaves; unregisters
END_INPUT = "ledgerd.end_input"  # the server's: whoever waits for more of the body finds its end; for good
BEGIN_STREAM = "ledgerd.begin_stream"  # the server's: to be called where an answer goes on for long; returns what cuts it off
CLIENT_ADDRESS = "ledgerd.client_address"  # str: who really sends it, behind trusted proxies as well
STREAMED = "ledgerd.streamed"  # True where the answer goes on for as long as the client listens: its time is no measure
TAKE_OVER = "ledgerd.take_over"  # the server's, where the client asks for an upgrade: after the head of a 101, the line itself
PRINCIPAL = "ledgerd.principal"  # who sends it; set by authentication
ROUTE = "ledgerd.route"  # the template of the route that answers, such as /api/users/<user_id>
TRACE = "ledgerd.trace"  # the request's place in a trace; set by tracing

Middleware = Callable[[WSGIApplication], WSGIApplication]
Render = Callable[[WSGIEnvironment, StartResponse, Exception], Iterable[bytes]]
Headers = list[tuple[str, str]]
ExcInfo = Any


def within(layers: Sequence[Middleware], app: WSGIApplication) -> WSGIApplication:
    """`app` inside all of `layers`, the outermost of which is the first."""
    for layer in reversed(layers):
        app = layer(app)
    return app
