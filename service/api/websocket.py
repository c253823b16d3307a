"""/api/events/ws: what GET /api/events tells, over a WebSocket (RFC 6455).

The handshake is here, as a request like every other: with a key, a scope and a rate limit. What follows is in `conversation`.
No extension is agreed on: compression would cost a window of memory for each client.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import NoReturn
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from wsproto.utilities import generate_accept_token

from service.api.calls import Answer, Call
from service.api.conversation import Conversation
from service.api.listening import LISTENED, RESUMED, SCOPE, Listening, listened
from service.api.routes import Header, Parameter, Route
from service.errors import FieldError, MalformedRequest
from service.middleware.environ import ANSWER_HEADERS, TAKE_OVER

PATH = "/api/events/ws"
VERSION = "13"
_HANDSHAKE = (
    Parameter("Upgrade", "`websocket`, with `Connection: Upgrade`", {"type": "string", "enum": ["websocket"]}, required=True),
    Parameter("Sec-WebSocket-Version", "the only one there is", {"type": "string", "enum": [VERSION]}, required=True),
    Parameter(
        "Sec-WebSocket-Key", "16 random bytes in base64", {"type": "string", "pattern": "^[A-Za-z0-9+/]{22}==$"}, required=True
    ),
)


class WebSocketHandlers:
    """The handler, with what it needs. `heartbeat_s` is how often clients are asked whether they are there."""

    def __init__(self, listening: Listening, *, heartbeat_s: float) -> None:
        self._listening = listening
        self._heartbeat_s = heartbeat_s

    def routes(self) -> Iterable[Route]:
        """The route."""
        yield Route(
            method="GET", path=PATH, handler=self.converse, scope=SCOPE,
            summary="The same as a WebSocket, a message an event", query=LISTENED, headers=(RESUMED, *_HANDSHAKE),
            answers={101: None},
            answer_headers={
                "Upgrade": Header("`websocket`"),
                "Sec-WebSocket-Accept": Header("what the key must be answered with"),
                "Sec-WebSocket-Version": Header("the version that is spoken here"),
            },
            errors=("overloaded", "malformed_request"),
        )

    def converse(self, call: Call) -> Answer:
        """101, and then the messages. Raises MalformedRequest for what is no handshake."""
        given = listened(call)
        try:
            accept = _accept(call.environ)
        except MalformedRequest:
            call.environ[ANSWER_HEADERS].append(("Sec-WebSocket-Version", VERSION))  # RFC 6455, 4.4
            raise
        answer = Answer(
            None, 101, Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Accept=accept, Sec_WebSocket_Version=VERSION
        )
        answer.body = Conversation(self._listening.open(call, given), self._heartbeat_s)
        return answer


def with_upgrades(app: WSGIApplication, routes: Iterable[Route]) -> WSGIApplication:
    """`app`, with the WebSocket in front of it: Flask sends nothing after the head of a 101."""
    (converse,) = (route.answer for route in routes if route.path == PATH)

    def upgrading(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH and environ["REQUEST_METHOD"] == "GET":
            return converse(environ).send(start_response)
        return app(environ, start_response)

    return upgrading


def _accept(environ: WSGIEnvironment) -> str:
    """What a good handshake is answered with (RFC 6455, 4.2.1)."""
    if not _has(environ, "HTTP_UPGRADE", "websocket"):
        _refuse("Upgrade", "expected `websocket`: this path is for WebSockets; GET /api/events needs none")
    if not _has(environ, "HTTP_CONNECTION", "upgrade"):
        _refuse("Connection", "expected `Upgrade`")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != VERSION:
        _refuse("Sec-WebSocket-Version", f"expected {VERSION}")
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY", "")
    try:
        is_good = len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        is_good = False
    if not is_good:
        _refuse("Sec-WebSocket-Key", "expected 16 bytes in base64")
    if environ.get("CONTENT_LENGTH") not in (None, "", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        _refuse("body", "a handshake has none")
    if environ.get("SERVER_PROTOCOL") != "HTTP/1.1" or TAKE_OVER not in environ:
        _refuse("Upgrade", "a connection is upgraded from HTTP/1.1 alone, and by ledgerd's own worker alone")
    return generate_accept_token(key.encode()).decode()


def _has(environ: WSGIEnvironment, name: str, word: str) -> bool:
    return word in (given.strip(" \t").lower() for given in environ.get(name, "").split(","))


def _refuse(name: str, message: str) -> NoReturn:
    raise MalformedRequest(f"{name}: {message}.", fields=(FieldError(name, message),))
