"""Answers to probes, for a process that serves something else than HTTP: /metrics, /healthz and /readyz, and nothing more.

One probe at a time, each with a few seconds: whoever comes here is Prometheus or the like, on a port of its own.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from socketserver import TCPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.concurrency.context import Context
from service.errors import ConfigurationError

log = logging.getLogger(__name__)

PATHS = ("/metrics", "/healthz", "/readyz")
TIMEOUT_S = 5.0  # for a probe's request, and to take the answer
LOOK_S = 0.5


class Probes:
    """Listens on `bind` from the start; `run` as a background task answers by what `app` says. Raises ConfigurationError."""

    def __init__(self, app: WSGIApplication, bind: str) -> None:
        self._app = app
        host, _, port = bind.rpartition(":")
        try:
            self._server = _Server(host.strip("[]"), int(port))
        except OSError as error:
            raise ConfigurationError(f"{bind} cannot be listened on: {error.strerror or error}") from None
        self._server.timeout = LOOK_S
        self._server.set_app(self._answer)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_port)

    def run(self, ctx: Context) -> None:
        """Answer until `ctx` ends."""
        try:
            while ctx.error() is None:
                self._server.handle_request()
        finally:
            self._server.server_close()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in PATHS or environ["REQUEST_METHOD"] != "GET":
            start_response("404 Not Found", [("Content-Length", "0")])
            return []
        return self._app(environ, start_response)


class _Handler(WSGIRequestHandler):
    timeout = TIMEOUT_S

    def log_message(self, _format: str, *_arguments: Any) -> None:
        """The application has its own log."""


class _Server(WSGIServer):
    allow_reuse_port = False

    def __init__(self, host: str, port: int) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """As WSGIServer's, but for the name of the host, which a name server would be asked for."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """A probe that breaks off is nobody's fault."""
        log.debug("a probe broke off", exc_info=True)
