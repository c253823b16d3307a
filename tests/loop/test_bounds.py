"""Every wait for a client has a bound; those who keep it are not disturbed by those who do not."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.loop.conftest import OURS, Server, served
from tests.loop.exchange import PROBE, exchange
from tests.loop.slow import serve_beside_slow_clients
from tests.serving import wait_until

pytestmark = pytest.mark.slow
BOUNDS = {"KEEPALIVE_S": 1.5, "HEAD_TIMEOUT_S": 1, "BODY_TIMEOUT_S": 1, "SEND_TIMEOUT_S": 1, "SLOWEST_BYTES_PER_S": 65536}
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
WATCHED = HEAD.replace(b"/ ", b"/read-while-client-stays ", 1)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our loop with short bounds."""
    bounds = ",".join(f"{name}={value}" for name, value in BOUNDS.items())
    with served(OURS, tmp_path_factory.mktemp("hasty") / "log", LOOP_BOUNDS=bounds) as server:
        yield server


def until_closed(sock: socket.socket) -> bytes:
    """What comes before the server ends the connection."""
    received = b""
    with suppress(ConnectionError):
        while part := sock.recv(1 << 20):
            received += part
    return received


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"", b""),
        (b"G", b"HTTP/1.1 408 "),
        (b"POST / HTTP/1.1\r\nHost", b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 10\r\n\r\n12345", b"HTTP/1.1 408 "),
        (HEAD + b"Content-Length: 100000\r\n\r\n12345", b"HTTP/1.1 408 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", b"HTTP/1.1 408 "),
        (WATCHED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", b"HTTP/1.1 408 "),
    ],
    ids=[
        "nothing", "a byte", "half a head", "half a body", "the beginning of a large body", "half a chunk",
        "the same, watched for leaving",
    ],
)
def test_a_request_that_does_not_arrive_is_given_up(hasty: Server, sent: bytes, answer: bytes) -> None:
    """With 408 where it had begun."""
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as sock:
        sock.sendall(sent)
        received = until_closed(sock)
    assert received[: len(answer)] == answer
    assert bool(received) == bool(answer)


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0\r\nConnection: keep-alive"], ids=["plain", "handed on"])
def test_an_idle_connection_is_closed(hasty: Server, version: bytes) -> None:
    """Without a word, some time after its last answer."""
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as sock:
        sock.sendall(b"GET /leave-body " + version + b"\r\nHost: a\r\n\r\n")
        assert until_closed(sock).count(b"HTTP/1.") == 1


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"], ids=["plain", "handed on"])
def test_a_client_that_does_not_read_is_cut_off(hasty: Server, version: bytes) -> None:
    """And nothing of it is left in the worker."""
    before = hasty.descriptors()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", hasty.port))
        sock.sendall(b"GET /endless " + version + b"\r\nHost: a\r\n\r\n")
        assert sock.recv(12) == version + b" 200"
        wait_until(lambda: hasty.descriptors() == before, 20)
        assert len(until_closed(sock)) < 1 << 30


def test_a_slow_body_that_keeps_the_pace_is_taken(hasty: Server) -> None:
    """Longer than the bound for its beginning, but fast enough for its size."""

    def pieces() -> Iterator[bytes]:
        yield HEAD + b"Content-Length: 400000\r\n\r\n"
        for _ in range(8):
            yield b"x" * 50_000
            time.sleep(0.3)

    (reply,) = exchange(hasty.port, pieces())
    assert len(reply.told["body"]) == 400_000


LEFT = HEAD.replace(b"/ ", b"/leave-body ", 1)


def test_a_slow_body_that_nobody_reads_is_taken_too(hasty: Server) -> None:
    """Longer than the bound for a head; then the connection goes on."""
    def pieces() -> Iterator[bytes]:
        yield LEFT + b"Content-Length: 400000\r\n\r\n"
        for _ in range(8):
            time.sleep(0.3)
            yield b"x" * 50_000
        yield PROBE

    assert [reply.status for reply in exchange(hasty.port, pieces())] == [200, 200]


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 400000\r\n\r\n12345", b"Content-Length: 400000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"Transfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nno size\r\n\r\n",
    ],
    ids=["a part", "nothing", "half a chunk", "a broken trailer", "no chunk"],
)
def test_a_request_is_not_answered_twice(hasty: Server, rest: bytes) -> None:
    """Whatever becomes of a body that the application did not want: a proxy would take it for the next request's answer."""
    with socket.create_connection(("127.0.0.1", hasty.port), timeout=20) as sock:
        sock.sendall(LEFT + rest)
        received = sock.recv(1 << 16)
        with suppress(ConnectionError):
            sock.sendall(b"a")
        received += until_closed(sock)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.") == 1


def test_slow_clients_disturb_nobody_and_are_cut_off(hasty: Server) -> None:
    """Good requests go on meanwhile, and nothing of the slow ones is left."""
    before = hasty.descriptors()
    answered, left = serve_beside_slow_clients(hasty.port, rounds=2000)
    assert answered >= 100
    assert left == 0
    wait_until(lambda: hasty.descriptors() == before, 20)


@pytest.mark.parametrize("unread", [b"", b"\r\n", PROBE], ids=["nothing unread", "a line", "a request"])
@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/1.0"], ids=["plain", "handed on"])
def test_the_application_learns_that_its_client_has_left(ours: Server, protocol: str, unread: bytes) -> None:
    """While it is still at work on the answer, whatever the client has sent behind its request."""
    ask = b"GET /who-left HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    before = exchange(ours.port, [ask])[0].told.count(f"{protocol} left")
    with socket.create_connection(("127.0.0.1", ours.port), timeout=20) as sock:
        sock.sendall(f"GET /wait-for-leave {protocol}\r\nHost: a\r\n\r\n".encode())
        time.sleep(0.3)  # it is read by now, and what follows is not
        sock.sendall(unread)
    wait_until(lambda: exchange(ours.port, [ask])[0].told.count(f"{protocol} left") == before + 1, 10)
    assert f"{protocol} stayed" not in exchange(ours.port, [ask])[0].told
