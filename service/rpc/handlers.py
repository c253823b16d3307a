"""Between grpc's handlers and the interceptors: a call goes in as an environment, messages or a status come out.

Every handler is made for a stream of requests, of which a unary one takes the first: with grpc's own unary handlers a thread
waits for the message before anything can be asked of the client, so that whoever opens calls and sends nothing could hold
all threads. Here a call without a valid key is refused before its message is read, and a message is waited for no longer
than the call may take. On the wire there is no difference.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn
from wsgiref.types import WSGIApplication, WSGIEnvironment

import grpc

from service.api.problem import STATUS as HTTP_STATUS
from service.concurrency.context import Context
from service.errors import ClientClosedRequest, Internal, LedgerdError
from service.middleware.environ import ANSWER_STATUS, REQUEST_ID, ExcInfo, Headers
from service.rpc.environ import BEHAVIOUR, FAILURE, LIFE, OVERDUE, make_environ
from service.rpc.overdue import Overdue
from service.rpc.status import describe

log = logging.getLogger(__name__)

_NOT_TOLD = frozenset({"content-type", "content-length", "location"})  # what is about HTTP alone


class Handlers:
    """Makes grpc's handlers of behaviours: WSGI applications whose bodies are messages. `app` is the interceptors."""

    def __init__(self, app: WSGIApplication, overdue: Overdue) -> None:
        self._app = app
        self._overdue = overdue

    def unary(self, path: str, behaviour: WSGIApplication) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A method that answers one message."""

        def handle(messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            environ, answer = self._begin(path, behaviour, messages, context), _Started()
            try:
                pieces = self._app(environ, answer.start)
                answer.end(environ, context)
                (message,) = pieces
            finally:
                _end_context(environ)
            return message

        return grpc.stream_unary_rpc_method_handler(handle)

    def stream(self, path: str, behaviour: WSGIApplication) -> grpc.RpcMethodHandler[bytes, bytes]:
        """A method that answers any number of messages, while they are made."""

        def handle(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
            environ, answer = self._begin(path, behaviour, messages, context), _Started()
            try:
                yield from _told(environ, context, self._app(environ, answer.start))
                answer.end(environ, context)
            finally:
                _end_context(environ)

        return grpc.stream_stream_rpc_method_handler(handle)

    def _begin(
        self, path: str, behaviour: WSGIApplication, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> WSGIEnvironment:
        environ = make_environ(path, context, messages)
        environ[BEHAVIOUR], environ[OVERDUE] = behaviour, self._overdue
        return environ


class _Started:
    """What the call's answer has for headers."""

    def __init__(self) -> None:
        self._headers: Headers = []

    def start(self, _status: str, headers: Headers, _exc_info: ExcInfo = None, /) -> Callable[[bytes], object]:
        self._headers = headers
        return _nothing

    def end(self, environ: WSGIEnvironment, context: grpc.ServicerContext) -> None:
        """Tell the headers, as trailing metadata. Ends the call where it has failed, by grpc's own exception."""
        told = [(name.lower(), value) for name, value in self._headers if name.lower() not in _NOT_TOLD]
        failure: LedgerdError | None = environ.get(FAILURE)
        if failure is not None:
            _fail(context, failure, environ[REQUEST_ID], told)
        context.set_trailing_metadata(tuple(told))


def _fail(
    context: grpc.ServicerContext, failure: LedgerdError, request_id: str, told: list[tuple[str, str]]
) -> NoReturn:
    status, message, more = describe(failure, request_id)
    context.set_trailing_metadata((*told, *more))
    context.abort(status, message)


def _told(environ: WSGIEnvironment, context: grpc.ServicerContext, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """`pieces`, whatever goes wrong on the way: then the call's failure says what."""
    try:
        if FAILURE not in environ:
            context.send_initial_metadata(())  # so that a client knows that it has begun, though nothing is to be told yet
        for piece in pieces:
            with environ[OVERDUE].watching(environ[LIFE], context.cancel):  # who does not read must not keep a thread
                yield piece
    except LedgerdError as error:
        environ[FAILURE] = error
    except grpc.RpcError:  # grpc's own way to say that the call is over
        environ[FAILURE] = ClientClosedRequest("The client ended the call.")
    except Exception:
        log.exception("a stream failed", extra={"fields": {"request_id": environ.get(REQUEST_ID)}})
        environ[FAILURE] = Internal("Something went wrong here; the log has it under this id.")
    finally:
        if FAILURE in environ:
            environ[ANSWER_STATUS] = HTTP_STATUS[environ[FAILURE].code]
        if hasattr(pieces, "close"):
            pieces.close()


def _end_context(environ: WSGIEnvironment) -> None:
    ctx: Context | None = environ.get(LIFE)
    if ctx is not None:
        ctx.cancel()


def _nothing(_piece: bytes) -> None:
    """What PEP 3333 has to write an answer's pieces by; nobody does."""
