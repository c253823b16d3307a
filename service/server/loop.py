"""The request loop of a worker: plain requests are answered by a few lines here, everything else by gunicorn's own loop.

A request costs gunicorn more than the application: header objects, hooks, a timer, two sends an answer. For a plain request
(`plain`) all of that is one parse, one call and one send. A connection whose next request is not plain is handed on to
gunicorn's loop, with the bytes that have been read, and stays there. Both wait for the client with the same bounds
(`connection`), and both tell the application when the client leaves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import BytesIO
from typing import Any

import gevent
from gunicorn.http.message import HeaderPolicy
from gunicorn.http.wsgi import base_environ
from gunicorn.workers.ggevent import GeventWorker

from service.middleware.environ import BEGIN_STREAM, CLIENT_LEFT, END_INPUT, KEY_REPEATED, TAKE_OVER
from service.server.answer import Answer, whole
from service.server.connection import BODY_TIMEOUT_S, SLOWEST_BYTES_PER_S, Connection, Connections, Phase
from service.server.handed_on import HandedOn
from service.server.heads import Heads, Simple, heads_for
from service.server.outgoing import Outgoing
from service.server.plain import Plain
from service.server.refusal import refuse, refuse_other_codings

log = logging.getLogger(__name__)

RECEIVE_BYTES = 64 * 1024


class RequestLoop(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's gevent worker with another loop for each connection."""

    wsgi: Any  # what gunicorn's loop calls
    application: Any = None  # what it stands for
    _at_once: Any = None  # the application's, where it has one: see `api.kept_user`

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections = Connections()
        self._outgoing = Outgoing()
        self._heads = lru_cache(1024)(self._find_heads)

    def load_wsgi(self) -> None:
        """Load the application, and put between it and gunicorn's loop what this one does itself."""
        super().load_wsgi()
        self.application, self.wsgi = self.wsgi, self._call_from_gunicorn
        self._at_once = getattr(self.application, "at_once", None)
        self._heads("")  # it needs what is gunicorn's own: where that has changed the start fails, and not each client

    def run(self) -> None:
        """gunicorn's own, with somebody to watch over the connections."""
        watcher = gevent.spawn(self.connections.watch)
        try:
            super().run()
        finally:
            watcher.kill()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """One connection, from its first request to its last."""
        conn = Connection(client)
        self.connections.add(conn)
        try:
            unusual = self._serve_plain(conn, self._base_environ(listener, conn, addr), self._heads(addr and addr[0]))
            if unusual:
                super().handle(listener, HandedOn(conn, unusual), addr)
            conn.linger()
        except OSError as error:  # the client has gone
            log.debug("a connection was lost: %s", error)
        finally:
            self.connections.discard(conn)
            conn.close()

    def handle_request(self, listener_name: Any, req: Any, sock: HandedOn, addr: Any) -> None:
        """One request in gunicorn's loop."""
        refuse_other_codings(req)
        sock.call_application(req)
        try:
            super().handle_request(listener_name, req, sock, addr)
            sock.discard_body()
        finally:
            sock.wait_for_request()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """gunicorn's hook: what came is no request, or something failed outside of the application."""
        with suppress(OSError):
            refuse(client, exc)

    @contextmanager
    def timeout_ctx(self) -> Iterator[None]:
        """gunicorn's bound on waiting for a request. The connection has its own."""
        yield

    def _serve_plain(self, conn: Connection, base: dict[str, Any], heads: Heads) -> bytes:
        """Answer plain requests to the end of the connection, or to one that is not plain: what has been read of that."""
        data = b""
        while True:
            if not data:
                conn.wait_for_request()
                data = conn.receive(RECEIVE_BYTES)
                if not data:
                    return b""
            end = data.find(b"\r\n\r\n") + 4
            if end <= 4:
                return data
            head = data[:end]
            simple = heads.take_apart(head)
            if simple is not None and self._answer_at_once(conn, simple, base, more=len(data) > end):
                data = data[end:]
                continue
            plain = heads.read(head, base, simple)
            if plain is None:
                return data
            body, data = data[end : end + plain.length], data[end + plain.length :]
            if len(body) < plain.length:
                body = _receive_body(conn, body, plain.length)
                if len(body) < plain.length:
                    return b""  # half a request has no effect
            if not self._answer(conn, plain, body, more=bool(data)):
                return b""

    def _answer_at_once(self, conn: Connection, simple: Simple, base: dict[str, Any], more: bool) -> bool:
        """Answer a request without a body where the application needs nothing for it but its head; tells whether it did."""
        method, path, fields = simple
        if self._at_once is None or fields.length or fields.last or not self.alive:
            return False
        try:
            made = self._at_once(method, path, fields, base)
        except Exception:
            log.exception("the application failed to answer %s %s at once", method, path)
            return False
        if made is None:
            return False
        data = whole(*made)
        if more:
            conn.sendall(data)
        else:
            self._outgoing.add(conn, data)
        return True

    def _answer(self, conn: Connection, plain: Plain, body: bytes, more: bool) -> bool:
        """Answer one request; tells whether the connection goes on. `more`: another request has been read already."""
        environ = plain.environ
        environ["wsgi.input"] = BytesIO(body)
        answer = Answer(conn, self.cfg, environ["REQUEST_METHOD"], plain.last)
        conn.call_application()
        result: Any = None
        try:
            result = self.application(environ, answer.start)
            answer.last = plain.last or not (self.alive or more)
            answer.send(result, None if more or answer.last else self._outgoing)
        except ConnectionError:
            raise
        except (Exception, SystemExit) as error:
            log.exception("the application failed at %s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            if not answer.begun:
                with suppress(OSError):
                    refuse(conn.sock, error)
            return False
        finally:
            if hasattr(result, "close"):
                result.close()
        return not answer.last

    def _call_from_gunicorn(self, environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not self.alive or status.startswith("101"):  # an application cannot close, gunicorn's Response can
                start_response.__self__.force_close()
            return start_response(status, headers, exc_info)

        sock = environ["gunicorn.socket"]
        connection = sock.connection
        if "HTTP_UPGRADE" in environ:
            environ[TAKE_OVER] = sock.take_over
        if sock.repeats("IDEMPOTENCY-KEY"):
            environ[KEY_REPEATED] = True
        environ[CLIENT_LEFT], environ[END_INPUT] = connection.when_client_leaves, connection.end_input
        environ[BEGIN_STREAM] = connection.begin_stream
        return self.application(environ, start)

    def _base_environ(self, listener: Any, conn: Connection, addr: Any) -> dict[str, Any]:
        """What the environments of all requests on a connection have in common; the keys are gunicorn's."""
        server = listener.getsockname()
        name, port = (server[0], str(server[1])) if isinstance(server, tuple) else ("localhost", "80")
        return {
            **base_environ(self.cfg),
            BEGIN_STREAM: conn.begin_stream,
            CLIENT_LEFT: conn.when_client_leaves,
            "REMOTE_ADDR": addr[0] if addr else "",
            "REMOTE_PORT": str(addr[1]) if addr else "",
            "SCRIPT_NAME": "",
            "SERVER_NAME": name,
            "SERVER_PORT": port,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "gunicorn.socket": conn,
            "wsgi.multithread": True,
            "wsgi.url_scheme": "http",
        }

    def _find_heads(self, host: str) -> Heads:
        """The fields by which the peer may say that it was asked by https, if it is trusted, by their keys."""
        policy = HeaderPolicy()
        policy.cfg, policy.peer_addr = self.cfg, (host, 0) if host else ""
        fields, _ = policy._peer_trusted_for_forwarded()
        return heads_for(tuple(("HTTP_" + name.replace("-", "_"), value) for name, value in fields.items()))


def _receive_body(conn: Connection, begun: bytes, length: int) -> bytes:
    """The body of `length` bytes, of which `begun` is there; less where the client ends before."""
    conn.enter(Phase.BODY, BODY_TIMEOUT_S)
    body = bytearray(begun)
    while len(body) < length:
        more = conn.receive(length - len(body))
        if not more:
            break
        body += more
        conn.deadline += len(more) / SLOWEST_BYTES_PER_S
    return bytes(body)
