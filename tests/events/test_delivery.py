"""One attempt: what counts as success, and that no receiver keeps it, fills it, or leads it somewhere else."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from service.concurrency.context import background, with_cancel, with_timeout
from service.errors import ClientClosedRequest
from service.events.delivery import MOST_BODY, MOST_HEAD, DeliveryFailed, Sender
from service.events.lookup import Lookups, Resolve
from service.events.targets import Addresses, Target
from tests.events.receivers import Receiver, Talk, read_request, receiving, saying

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEADERS = [("webhook-id", "msg_1_2")]
LOOPBACK = Addresses(["127.0.0.0/8"])


class Sending:
    """A sender, and the names that were looked up."""

    def __init__(self, *, addresses: Addresses = LOOPBACK, resolve: Resolve | None = None, ca: Path | None = None) -> None:
        self.asked: list[str] = []
        self._resolve = resolve or (lambda _host, _port: ["127.0.0.1"])
        self.lookups = Lookups(background(), self._note, fresh_s=0)
        tls = None if ca is None else ssl.create_default_context(cafile=str(ca))
        self.sender = Sender(addresses, self.lookups, tls)

    def _note(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._resolve(host, port)

    def to(
        self, receiver: Receiver, *,
        scheme: str = "http", host: str = "receiver.test", body: bytes = b"{}", within_s: float = 5,
    ) -> int:
        """One attempt."""
        with with_timeout(background(), within_s) as ctx:
            return self.sender.send(ctx, Target(scheme, host, receiver.port, "/in?x=1"), HEADERS, body)

    def fails(self, receiver: Receiver, *, scheme: str = "http", body: bytes = b"{}", within_s: float = 5) -> DeliveryFailed:
        """One attempt that does."""
        with pytest.raises(DeliveryFailed) as caught:
            self.to(receiver, scheme=scheme, body=body, within_s=within_s)
        return caught.value

    def __enter__(self) -> Sending:
        return self

    def __exit__(self, *_: object) -> None:
        self.lookups.close()
        self.sender.connections.close()


@pytest.fixture
def sending() -> Iterator[Sending]:
    """Every name is 127.0.0.1, which the operator has allowed."""
    with Sending() as sending:
        yield sending


def test_what_is_sent(sending: Sending) -> None:
    """A POST of the path with its query, the name as Host, the headers, and the body byte for byte."""
    got: list[tuple[bytes, bytes]] = []

    def talk(conn: socket.socket) -> None:
        got.append(read_request(conn))
        conn.sendall(OK)

    with receiving(talk) as receiver:
        assert sending.to(receiver, body="{\"ä\":1}".encode()) == 200
        ((head, body),) = got
        first, *lines = head.decode().split("\r\n")
        assert first == "POST /in?x=1 HTTP/1.1"
        assert f"Host: receiver.test:{receiver.port}" in lines
        assert "Content-Type: application/json" in lines
        assert "webhook-id: msg_1_2" in lines
        assert body == "{\"ä\":1}".encode()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (OK, 200), (b"HTTP/1.1 204 No Content\r\n\r\n", 204), (b"HTTP/1.1 202 \r\nContent-Length: 0\r\n\r\n", 202),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", 200), (b"HTTP/1.1 299 Odd\r\nConnection: close\r\n\r\n", 299),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200),
        (OK + b"rubbish behind it", 200),
    ],
)
def test_success_is_2xx(sending: Sending, answer: bytes, status: int) -> None:
    """Whatever is in it."""
    with receiving(saying(answer)) as receiver:
        assert sending.to(receiver) == status


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 400, 401, 404, 410, 418, 429, 500, 502, 503, 599])
def test_everything_else_is_a_failure(sending: Sending, status: int) -> None:
    """It tells the status."""
    with receiving(saying(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)) as receiver:
        error = sending.fails(receiver)
        assert (error.status, error.problem) == (status, f"status {status}")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"120", 120.0), (b"0", 0.0), (b"-5", 0.0), (b"1e9", 0.0), (b"9" * 20, 0.0), (b"Fri, 31 Jan 2026 09:30:00 GMT", 0.0)],
)
def test_a_receiver_may_ask_for_time(sending: Sending, value: bytes, seconds: float) -> None:
    """By `Retry-After` in seconds; anything else is passed over."""
    answer = b"HTTP/1.1 429 X\r\nRetry-After: " + value + b"\r\nContent-Length: 0\r\n\r\n"
    with receiving(saying(answer)) as receiver:
        assert sending.fails(receiver).retry_after_s == seconds


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "the connection was closed without an answer"), (b"HTTP/1.1 200 OK\r\nContent-Le", "closed without an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf", "the answer broke off"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha", "the answer broke off"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed without an answer"), (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        (b"\x16\x03\x01\x00\x05hello", "not HTTP"), (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "status 101"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 10_000, f"longer than {MOST_HEAD} bytes"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, f"longer than {MOST_HEAD} bytes"),
    ],
)
def test_what_is_no_whole_answer_is_a_failure(sending: Sending, answer: bytes, problem: str) -> None:
    """Also where it begins with 200."""
    with receiving(saying(answer)) as receiver:
        assert problem in sending.fails(receiver).problem


def test_one_that_never_answers(sending: Sending) -> None:
    """The attempt ends by its deadline."""

    def talk(conn: socket.socket) -> None:
        read_request(conn)
        conn.recv(1)  # until the other side leaves

    with receiving(talk) as receiver:
        assert sending.fails(receiver, within_s=0.3).problem == "timed out"
        assert receiver.ended.wait(10), "the connection was left open"


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"])
def test_one_that_drips(sending: Sending, beginning: bytes) -> None:
    """In the status line, the head or the body: each byte is in time, the whole is not. It would go on for ever."""

    def talk(conn: socket.socket) -> None:
        read_request(conn)
        conn.sendall(beginning)
        for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
            conn.sendall(bytes([byte]))
            time.sleep(0.05)

    with receiving(talk) as receiver:
        assert sending.fails(receiver, within_s=0.4).problem == "timed out"


def test_one_that_does_not_read(sending: Sending) -> None:
    """A body that fits into no buffer: writing has the same deadline."""
    leave = threading.Event()
    with receiving(lambda _conn: (leave.wait(10), None)[1]) as receiver:
        try:
            assert sending.fails(receiver, body=b"x" * 50_000_000, within_s=0.5).problem == "timed out"
        finally:
            leave.set()


def test_an_answer_of_ten_gigabytes(sending: Sending) -> None:
    """It is a success, and no more than a few KiB of it are waited for."""
    sent: list[int] = []

    def talk(conn: socket.socket) -> None:
        read_request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        total = 0
        try:
            while total < 10_000_000_000:
                total += conn.send(b"x" * 65_536)
        finally:
            sent.append(total)

    with receiving(talk) as receiver:
        assert sending.to(receiver) == 200
        assert receiver.ended.wait(10)
    assert MOST_BODY <= sent[0] < 50_000_000  # what the buffers of both sides hold


def test_one_that_answers_before_it_has_read(sending: Sending) -> None:
    """Its answer counts: a 413 that comes early is a 413."""

    def talk(conn: socket.socket) -> None:
        conn.recv(1000)
        conn.sendall(b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n")
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(65_536):
            pass

    with receiving(talk) as receiver:
        assert sending.fails(receiver, body=b"x" * 5_000_000).status == 413


def test_redirects_are_not_followed(sending: Sending) -> None:
    """Wherever they lead."""
    with receiving(saying(OK)) as other:
        where = b"http://127.0.0.1:%d/" % other.port
        with receiving(saying(b"HTTP/1.1 307 X\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n")) as receiver:
            assert sending.fails(receiver).status == 307
        assert other.connections == 0


def test_proxies_of_the_environment_are_not_used(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would connect to whatever the name stands for to them."""
    with receiving(saying(OK)) as proxy, receiving(saying(OK)) as receiver:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{proxy.port}")
        assert sending.to(receiver) == 200
        assert (proxy.connections, receiver.connections) == (0, 1)


def test_a_name_is_looked_up_once_and_the_judged_address_connected_to() -> None:
    """A name that stands for something else when it is asked again (DNS rebinding) is not asked again."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    only = Addresses(["127.0.0.1/32"])
    with Sending(addresses=only, resolve=lambda _h, _p: next(answers)) as sending, receiving(saying(OK)) as receiver:
        assert sending.to(receiver) == 200
        assert (len(sending.asked), receiver.connections) == (1, 1)
        assert "not allowed" in sending.fails(receiver).problem
        assert receiver.connections == 1


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["fe80::1%lo"], ["x"]],
)
def test_one_address_that_is_not_allowed_is_enough(found: Sequence[str]) -> None:
    """Nothing is connected to, whichever of them it is."""
    with Sending(addresses=Addresses(), resolve=lambda _h, _p: found) as sending, receiving(saying(OK)) as receiver:
        assert "not allowed" in sending.fails(receiver).problem
        assert receiver.connections == 0


def test_an_address_in_the_url_is_judged_too() -> None:
    """Without a look-up."""
    with Sending(addresses=Addresses()) as sending, receiving(saying(OK)) as receiver:
        for host in ("127.0.0.1", "::1"):
            with pytest.raises(DeliveryFailed, match="not allowed"):
                sending.to(receiver, host=host)
        assert (sending.asked, receiver.connections) == ([], 0)


def test_the_next_address_is_tried() -> None:
    """Where the first refuses."""
    with Sending(resolve=lambda _h, _p: ["127.0.0.2", "127.0.0.1"]) as sending, receiving(saying(OK)) as receiver:
        assert sending.to(receiver) == 200


def test_one_that_is_not_there(sending: Sending) -> None:
    """Refused, without an address, or with a name that nobody knows."""

    def nobody(_host: str, _port: int) -> Sequence[str]:
        raise socket.gaierror("no such name")

    with receiving(saying(OK)) as receiver:
        pass
    assert sending.fails(receiver).problem == "the connection was refused"
    with Sending(resolve=nobody) as unknown:
        assert unknown.fails(receiver).problem == "the host's name cannot be looked up"
    with Sending(resolve=lambda _h, _p: []) as empty:
        assert empty.fails(receiver).problem == "the host has no address"


def test_a_name_that_takes_for_ever_to_look_up() -> None:
    """The attempt ends by its deadline, though the resolver knows none."""
    answer = threading.Event()

    def slow(_host: str, _port: int) -> Sequence[str]:
        answer.wait(20)
        return ["127.0.0.1"]

    with receiving(saying(OK)) as receiver, Sending(resolve=slow) as sending:
        try:
            assert sending.fails(receiver, within_s=0.3).problem == "timed out"
        finally:
            answer.set()


def test_what_was_looked_up_is_used_again_for_a_while() -> None:
    """And judged at each attempt all the same."""
    asked: list[str] = []
    lookups = Lookups(background(), lambda host, _port: asked.append(host) or ["127.0.0.1"], fresh_s=60)
    try:
        for _ in range(3):
            assert lookups.find(background(), "a.test", 80) == ["127.0.0.1"]
    finally:
        lookups.close()
    assert asked == ["a.test"]


def test_an_attempt_is_cancelled(sending: Sending) -> None:
    """It ends at once, as cancelled and not as failed."""
    arrived = threading.Event()

    def talk(conn: socket.socket) -> None:
        read_request(conn)
        arrived.set()
        conn.recv(1)

    with receiving(talk) as receiver, with_cancel(background()) as whole, with_timeout(whole, 60) as ctx:
        canceller = threading.Thread(target=lambda: (arrived.wait(10), whole.cancel()))
        canceller.start()
        with pytest.raises(ClientClosedRequest):
            sending.sender.send(ctx, Target("http", "receiver.test", receiver.port, "/"), HEADERS, b"{}")
        canceller.join()


def keeping(exchanges: int) -> Talk:
    """Answers so many requests on a connection, then closes it without a word."""

    def talk(conn: socket.socket) -> None:
        for _ in range(exchanges):
            read_request(conn)
            conn.sendall(OK)

    return talk


def test_a_connection_is_kept_for_the_next_attempt(sending: Sending) -> None:
    """One for both, and the name is looked up once."""
    with receiving(keeping(10)) as receiver:
        for _ in range(3):
            assert sending.to(receiver) == 200
        assert (receiver.connections, sending.asked) == (1, ["receiver.test"])
        sending.sender.connections.close()
        assert sending.to(receiver) == 200
        assert receiver.connections == 2


def test_a_kept_connection_that_is_closed_costs_no_attempt(sending: Sending) -> None:
    """Whether it is seen before the request is sent, or after: the same attempt is made on another one."""
    with receiving(keeping(1)) as receiver:
        for number in range(1, 4):
            assert sending.to(receiver) == 200
            assert receiver.connections == number

    def cutting(conn: socket.socket) -> None:
        read_request(conn)
        conn.sendall(OK)
        if receiver.connections == 1:
            read_request(conn)  # and then nothing

    with receiving(cutting) as receiver:
        assert sending.to(receiver) == 200
        assert sending.to(receiver) == 200
        assert receiver.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK + OK, OK + b"rubbish", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, OK[:-2] + b"okHTTP/1.1 200 OK\r\n",
    ],
)
def test_a_connection_that_says_more_than_it_should_is_not_kept(sending: Sending, answer: bytes) -> None:
    """Nor one that is to be closed: nothing of one answer may be taken for the next."""

    def talk(conn: socket.socket) -> None:
        while True:
            read_request(conn)
            conn.sendall(answer)

    with receiving(talk) as receiver:
        for number in range(1, 3):
            assert sending.to(receiver) == 200
            assert receiver.connections == number


def test_connections_are_kept_for_a_time_and_in_number(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle one is closed, and so is the longest idle of too many."""
    monkeypatch.setattr("service.events.connections.MOST_IDLE", 1)
    with receiving(keeping(10)) as one, receiving(keeping(10)) as other:
        assert sending.to(one) == 200
        assert sending.to(other) == 200
        assert one.ended.wait(10)
        monkeypatch.setattr("service.events.connections.IDLE_S", 0.0)
        assert sending.to(other) == 200
        assert other.connections == 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of receiver.test, its own authority, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "receiver.pem"
    key = path.with_suffix(".key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=receiver.test", "-addext", "subjectAltName=DNS:receiver.test", "-keyout", str(key), "-out", str(path)],
        check=True, capture_output=True,
    )
    path.write_text(path.read_text() + key.read_text())
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    """The receiver's side."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    return tls


def test_tls_by_name(certificate: Path) -> None:
    """The name in the certificate is that of the URL, not the address."""
    with Sending(ca=certificate) as sending, receiving(saying(OK), server_tls(certificate)) as receiver:
        assert sending.to(receiver, scheme="https") == 200
        with pytest.raises(DeliveryFailed, match="certificate is not valid"):
            sending.to(receiver, scheme="https", host="other.test")
        with pytest.raises(DeliveryFailed, match="certificate is not valid"):
            sending.to(receiver, scheme="https", host="127.0.0.1")


def test_tls_that_nobody_vouches_for(certificate: Path) -> None:
    """A certificate that is its own authority; a server without TLS; one that never shakes hands."""
    with Sending() as sending:
        with receiving(saying(OK), server_tls(certificate)) as receiver:
            assert "certificate is not valid" in sending.fails(receiver, scheme="https").problem
        with receiving(lambda conn: conn.sendall(b"HTTP/1.1 400 X\r\n\r\n")) as receiver:
            assert sending.fails(receiver, scheme="https").problem == "TLS failed"
        with receiving(lambda conn: (conn.recv(5000), conn.recv(1), None)[2]) as receiver:
            assert sending.fails(receiver, scheme="https", within_s=0.3).problem == "timed out"


def test_tls_that_drips(certificate: Path) -> None:
    """The same deadline holds over TLS."""

    def talk(conn: socket.socket) -> None:
        read_request(conn)
        for _ in range(1000):
            conn.sendall(b"H")
            time.sleep(0.05)

    with Sending(ca=certificate) as sending, receiving(talk, server_tls(certificate)) as receiver:
        assert sending.fails(receiver, scheme="https", within_s=0.5).problem in ("timed out", "the answer is not HTTP")
