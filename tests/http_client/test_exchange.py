"""One exchange over a real socket: connections are kept, and every call ends when its time is up."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest

from service.client import Client
from service.client.exchange import LONGEST_IDLE_S
from service.client.instances import FAILURES
from service.concurrency.context import background, with_cancel, with_timeout
from service.errors import (
    ClientClosedRequest,
    DeadlineExceeded,
    InvalidInput,
    LedgerdError,
    OutcomeUnknown,
    Unavailable,
)
from tests.core.clock import ManualClock
from tests.http_client.scripted import Answering, Asked, answer, drip, hang, lose, problem, raw_answer, scripted, tear
from tests.serving import ROOT, free_port, wait_until

USER = {"name": "Ada", "email": "ada@example.com"}


def test_a_connection_is_used_again() -> None:
    """Many calls one after the other are one connection, and nothing but what was asked for is sent."""
    with scripted(answer(200, {"id": 1})) as server, Client(server.url, "k") as client:
        for _ in range(20):
            assert client.get(background(), "/api/users/1") == {"id": 1}
        assert server.connections() == 1
        asked = server.asked[0]
    assert asked.line == "GET /api/users/1 HTTP/1.1"
    assert asked.headers["authorization"] == "Bearer k"
    assert "idempotency-key" not in asked.headers
    assert 0 < float(asked.headers["request-timeout"]) < 10


@pytest.mark.parametrize("closing", [answer(200, {}, Connection="close"), lose, tear])
def test_a_connection_that_has_ended_is_not_used_again(closing: Answering) -> None:
    """Whether the answer has said so or it just broke."""
    with scripted(closing, answer(200, {"id": 1})) as server, Client(server.url, None) as client:
        client.get(background(), "/a")
        client.get(background(), "/b")
        assert server.connections() == 2
        assert "authorization" not in server.asked[0].headers


def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    """Whoever is in between may have forgotten it."""
    clock = ManualClock()
    with scripted(answer(200, {})) as server, Client(server.url, None) as client:
        ctx = background(clock)
        client.get(ctx, "/a")
        clock.advance(LONGEST_IDLE_S - 1)
        client.get(ctx, "/b")
        assert server.connections() == 1
        clock.advance(LONGEST_IDLE_S)
        client.get(ctx, "/c")
        assert server.connections() == 2


def test_no_more_connections_than_allowed_are_used() -> None:
    """Further calls wait for one, as long as their time goes on."""
    with scripted(hang) as server, Client(server.url, None, connections=2) as client, with_cancel(background()) as ctx:
        errors: list[Exception] = []

        def call() -> None:
            try:
                client.get(ctx, "/a")
            except LedgerdError as error:
                errors.append(error)

        threads = [threading.Thread(target=call) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(server.asked) == 2, 10)
        with with_timeout(background(), 0.2) as short, pytest.raises(DeadlineExceeded):
            client.get(short, "/a")
        assert server.connections() == 2
        ctx.cancel()
        for thread in threads:
            thread.join(10)
        assert [type(error) for error in errors] == [ClientClosedRequest] * 2


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
def test_many_threads_share_a_client() -> None:
    """Each gets its own answers, over no more connections than allowed, some of which end meanwhile."""

    def echo(connection: socket.socket, asked: Asked) -> None:
        name = asked.line.split()[1]
        closing = {"Connection": "close"} if name.endswith("7") else {}
        connection.sendall(raw_answer(200, {"name": name}, **closing))

    wrong: list[object] = []

    def call(client: Client, thread: int) -> None:
        for number in range(40):
            name = f"/{thread}/{number}"
            told = client.get(background(), name)
            if told != {"name": name}:
                wrong.append((name, told))

    with scripted(echo) as server, Client(server.url, None, connections=4) as client:
        threads = [threading.Thread(target=call, args=(client, number)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []
        assert len(server.asked) == 16 * 40
        assert server.connections() <= 4 + 16 * 4  # and one for each that was closed


TIME_S = 1.0
LATE: list[Callable[[], Answering]] = [
    lambda: hang,
    lambda: drip(b""),
    lambda: drip(b"HTTP/1.1 200 OK\r\nX-Slow: "),
    lambda: drip(HEAD + b"Content-Length: 1000000\r\n\r\n"),
    lambda: drip(HEAD + b"Connection: close\r\nContent-Length: 1000000\r\n\r\n"),
]


@pytest.mark.slow
@pytest.mark.parametrize("late", LATE, ids=["nothing", "first line", "header", "body", "body of a connection that is closed"])
def test_a_call_ends_when_its_time_is_up_however_its_answer_comes(late: Callable[[], Answering]) -> None:
    """A read is told so; what may have taken effect is not known. Each piece that comes gives no new time."""
    with scripted(late()) as server, Client(server.url, None) as client:
        with with_timeout(background(), TIME_S) as ctx, pytest.raises(DeadlineExceeded):
            client.get(ctx, "/a")
        with with_timeout(background(), TIME_S) as ctx, pytest.raises(OutcomeUnknown, match="idempotency key 'mine'"):
            client.transfer(ctx, from_account_id=1, to_account_id=2, amount=5, idempotency_key="mine")
        with with_timeout(background(), TIME_S) as ctx, pytest.raises(OutcomeUnknown, match="read it back"):
            client.post(ctx, "/api/users", USER)
        told = [float(asked.headers["request-timeout"]) for asked in server.asked]
        assert all(0 < seconds < TIME_S for seconds in told)


@pytest.mark.parametrize("torn", [b"HTTP/1.1 201 Created\r\nContent-Ty", HEAD, HEAD + b"\r\n{}", b"HTTP/1.1 201 Cre"])
def test_an_answer_that_is_cut_off_is_none(torn: bytes) -> None:
    """In its headers too, or where its end could not be told from its being cut off."""

    def give(connection: socket.socket, _: Asked) -> None:
        connection.sendall(torn)
        connection.shutdown(socket.SHUT_RDWR)

    with scripted(give) as server, Client(server.url, None) as client, pytest.raises(OutcomeUnknown):
        client.post(background(), "/api/users", USER)
    assert len(server.asked) == 1


def test_the_clients_own_time_ends_a_call_too() -> None:
    """Where the context has none."""
    with scripted(hang) as server, Client(server.url, None, timeout_s=0.3) as client:
        began = monotonic()
        with pytest.raises(DeadlineExceeded):
            client.get(background(), "/a")
        assert monotonic() - began >= 0.3


def test_a_call_ends_when_its_context_is_cancelled() -> None:
    """At once, in the middle of an answer."""
    with scripted(drip(HEAD)) as server, Client(server.url, None) as client, with_cancel(background()) as ctx:
        canceller = threading.Thread(target=lambda: (wait_until(lambda: server.asked, 10), ctx.cancel()))
        canceller.start()
        with pytest.raises(ClientClosedRequest):
            client.get(ctx, "/a")
        canceller.join(10)
        assert len(server.asked) == 1


def test_nobody_there_is_unavailable() -> None:
    """Nothing was sent, so that is certain for every request."""
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, None, attempts=2) as client:
        for call in (lambda: client.get(background(), "/a"), lambda: client.post(background(), "/api/users", USER)):
            with pytest.raises(Unavailable, match="cannot be reached"):
                call()


def test_errors_are_of_the_taxonomy_with_all_that_was_told() -> None:
    """Code, detail, fields and Retry-After; and where to look in the log."""
    with (
        scripted(problem(422, "invalid_input", Retry_After="7", X_Request_ID="abc")) as server,
        Client(server.url, None) as client,
        pytest.raises(InvalidInput, match=r"It is invalid_input\.") as caught,
    ):
        client.post(background(), "/api/users", USER)
    error = caught.value
    assert [(each.field, each.message) for each in error.fields] == [("amount", "no")]
    assert error.retry_after_s == 7
    assert error.__notes__ == [f"POST /api/users at {server.url}, request abc"]


@pytest.mark.parametrize(
    ("status", "kind", "content", "code"),
    [
        (404, "text/html", "gone", "not_found"),
        (404, "application/problem+json", ["odd"], "not_found"),
        (422, "application/problem+json", {"code": "of_a_later_version", "errors": [3, {"field": 1}]}, "invalid_input"),
        (418, "application/json", {"code": "not_found"}, "internal"),
        (302, "text/html", "elsewhere", "internal"),
        (500, "text/html", "oops", "internal"),
        (413, "text/html", "too much", "payload_too_large"),
    ],
)
def test_an_answer_in_another_form_is_told_by_its_status(status: int, kind: str, content: object, code: str) -> None:
    """A proxy's, or one of a version that is newer than the client. Redirects are not followed."""
    with (
        scripted(answer(status, content, kind=kind, Location="http://127.0.0.1:9/")) as server,
        Client(server.url, None) as client,
        pytest.raises(LedgerdError) as caught,
    ):
        client.get(background(), "/a")
    assert caught.value.code == code
    assert len(server.asked) == 1


@pytest.mark.parametrize("path", ["api", "", "http://elsewhere/", "/a b", "/a\r\nX: y", "/ä"])
def test_a_path_that_cannot_be_sent_is_the_callers_mistake(path: str) -> None:
    """ValueError, and nothing goes out."""
    with Client("http://127.0.0.1:9", None) as client, pytest.raises(ValueError, match="expected a path"):
        client.get(background(), path)


@pytest.mark.parametrize("servers", [[], "ftp://h", "http://", "http://user@h", "http://h/?q", "h:80"])
def test_what_is_no_server_is_the_callers_mistake(servers: object) -> None:
    """At once, or at the first call."""
    with pytest.raises(ValueError, match="expected the URL"), Client(servers, None) as client:  # type: ignore[arg-type]
        client.get(background(), "/a")


def test_a_base_url_may_have_a_path() -> None:
    """As where a proxy serves it below one."""
    with scripted(answer(200, {})) as server, Client(f"{server.url}/ledger/", None) as client:
        client.get(background(), "/api/users", {"limit": 5, "email": "a&b", "cursor": None})
        assert server.asked[0].line == "GET /ledger/api/users?limit=5&email=a%26b HTTP/1.1"


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate for `localhost`, which this process trusts."""
    path, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", path],
        check=True, capture_output=True,
    )
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path, key)
    return tls


def test_tls_is_checked_by_name(certificate: ssl.SSLContext) -> None:
    """The certificate must be trusted and be the server's; nothing is sent before that."""
    with scripted(answer(200, {"id": 1}), tls=certificate) as server:
        for host, trusted in (("localhost", True), ("127.0.0.1", False)):
            with Client(f"https://{host}:{server.port}", "k", attempts=1) as client:
                if trusted:
                    assert [client.get(background(), "/a") for _ in range(3)] == [{"id": 1}] * 3
                else:
                    with pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
                        client.get(background(), "/a")
        assert len(server.asked) == 3
        assert {asked.connection for asked in server.asked} == {1}


@pytest.mark.slow
def test_a_call_over_tls_ends_when_its_time_is_up(certificate: ssl.SSLContext) -> None:
    """In the middle of an answer."""
    with (
        scripted(drip(HEAD), tls=certificate) as server,
        Client(f"https://localhost:{server.port}", None) as client,
        with_timeout(background(), TIME_S) as ctx,
        pytest.raises(DeadlineExceeded),
    ):
        client.get(ctx, "/a")


def test_a_certificate_that_is_not_trusted_is_refused(certificate: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason is still told when the server is left alone for it; and the key was not sent."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with scripted(answer(200, {}), tls=certificate) as server:
        with Client(f"https://localhost:{server.port}", "k", attempts=FAILURES + 1) as client:
            client._repetition._uniform = lambda _low, _high: 0.0
            with pytest.raises(Unavailable, match=r"is left alone for a while: .*CERTIFICATE_VERIFY_FAILED"):
                client.get(background(), "/a")
        assert server.asked == []


def test_the_client_needs_nothing_of_the_server() -> None:
    """No framework, no driver, no gevent: a program that only calls ledgerd loads none of them."""
    heavy = ("flask", "werkzeug", "gevent", "gunicorn", "psycopg", "marshmallow", "structlog", "prometheus_client")
    check = f"import sys, service.client; sys.exit(', '.join(m for m in {heavy!r} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_does_the_same_on_greenlets() -> None:
    """Connections, deadlines and cancelling once more in a process that gevent has patched."""
    tests = "tests/http_client/test_exchange.py"
    command = [sys.executable, "-m", "tests.core.patched", tests, "-q", "-k", "connection or body or cancelled"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout[-10_000:]
    assert " passed" in done.stdout
