"""The port for probes answers what it is for, and nothing else."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest

from service.concurrency.context import background
from service.concurrency.spawn import Tasks
from service.errors import ConfigurationError
from service.server.probes import Probes
from tests.serving import http_status


@pytest.fixture
def probes() -> Iterator[Probes]:
    """Of an application that answers its path."""
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["PATH_INFO"].encode(), environ["REMOTE_ADDR"].encode()]

    tasks, found = Tasks(background()), Probes(app, "127.0.0.1:0")
    tasks.spawn("probes", found.run)
    yield found
    assert tasks.stop(10) == []


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
def test_a_probe_is_answered(probes: Probes, path: str) -> None:
    """By the application, which is told who asks."""
    with urllib.request.urlopen(f"http://127.0.0.1:{probes.port}{path}", timeout=10) as answer:
        assert answer.read() == path.encode() + b"127.0.0.1"


@pytest.mark.parametrize("path", ["/", "/api/users", "/metrics/", "/openapi.json"])
def test_nothing_else_is_there(probes: Probes, path: str) -> None:
    """The application is not asked."""
    assert http_status(f"http://127.0.0.1:{probes.port}{path}") == 404


def test_who_says_nothing_holds_up_nobody_for_long(probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a request is closed, and the next is answered."""
    monkeypatch.setattr("service.server.probes._Handler.timeout", 0.2)
    with socket.create_connection(("127.0.0.1", probes.port), 10) as silent:
        assert http_status(f"http://127.0.0.1:{probes.port}/healthz") == 200
        assert silent.recv(1) == b""


def test_an_address_that_cannot_be_had_is_told(probes: Probes) -> None:
    """One that is taken."""
    with pytest.raises(ConfigurationError, match="cannot be listened on"):
        Probes(lambda _environ, _start: [], f"127.0.0.1:{probes.port}")
