"""Asks an application for an answer from the head alone before it is called, as the request loop does, without a server."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.app import Application
from service.server.heads import Heads


def asked_first(application: Application) -> WSGIApplication:
    """`application`, whose `at_once` is asked first; tests/loop/test_at_once.py has the loop."""
    heads = Heads({})

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        simple = heads.take_apart(head_of(environ))
        if simple is None or simple[2].length or simple[2].last:
            return application(environ, start_response)
        made = application.at_once(*simple, environ)
        if made is None:
            return application(environ, start_response)
        status, lines, body = made
        start_response(status, [tuple(line.split(": ", 1)) for line in lines.splitlines()])  # type: ignore[misc]  # pairs
        return [body]

    return call


def head_of(environ: WSGIEnvironment) -> bytes:
    """The head that would have had this environment."""
    named = {key.removeprefix("HTTP_"): value for key, value in environ.items() if key.startswith("HTTP_")}
    named |= {key: environ[key] for key in ("CONTENT_LENGTH", "CONTENT_TYPE") if environ.get(key)}
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} HTTP/1.1\r\n{fields}\r\n".encode()
