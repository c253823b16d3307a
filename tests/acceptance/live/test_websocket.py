"""GET /api/events/ws from a real server, heard by the public `websockets` package; and by raw frames, which may be wrong."""

from __future__ import annotations

import json
import signal
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.acceptance.events import Poster, new_key, serving
from tests.bench.resident import resident_mib
from tests.client import HttpClient
from tests.serving import Serve, wait_until
from tests.sse import listen
from tests.websocket import CLOSE, PING, PONG, TEXT, RawSocket, frame


def hear(port: int, key: str, query: str = "", **more: Any) -> ClientConnection:
    """An open connection."""
    headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}
    return connect(f"ws://127.0.0.1:{port}/api/events/ws{query}", additional_headers=headers, proxy=None, **more)


def ids(connection: ClientConnection, number: int) -> list[int]:
    """The ids of the next events."""
    return [int(json.loads(connection.recv(20))["id"]) for _ in range(number)]


def close_of(connection: ClientConnection) -> tuple[int, str]:
    """How the server ends it, after whatever else it says."""
    with pytest.raises(ConnectionClosed) as end:
        while True:
            connection.recv(20)
    assert end.value.rcvd is not None, "it was cut without a word"
    return end.value.rcvd.code, end.value.rcvd.reason


def test_an_event_is_a_message(served: Serve, key: str, poster: Poster) -> None:
    """The same JSON as everywhere, when it happens; nothing of before."""
    poster.post()
    with hear(served.port, key) as connection:
        (posted,) = poster.post(reference="ü")
        event = json.loads(connection.recv(20))
        assert (event["id"], event["type"], event["data"]["transfer"]["reference"]) == (posted, "transfer.posted", "ü")


def test_it_is_resumed_and_filtered_as_a_stream_is(served: Serve, key: str, poster: Poster) -> None:
    """`after`, `Last-Event-ID`, `types` and `account_id`, from the past into the present."""
    poster.bulk(1_000, "past")
    with hear(served.port, key, "?after=0") as connection:
        everything = ids(connection, 1_002)
        assert everything == sorted(set(everything))
    last = str(everything[500])
    for query, headers in ((f"?after={last}", {}), ("?after=0", {"Last-Event-ID": last})):
        with hear(served.port, key, query, headers=headers) as connection:
            everything += poster.post()
            assert ids(connection, len(everything) - 501) == everything[501:]
    other = poster.account()
    with hear(served.port, key, f"?after=0&account_id={other}&types=account.created") as connection:
        event = json.loads(connection.recv(20))
        assert event["data"]["account"]["id"] == other


def test_another_ledger_is_not_heard_of(served: Serve, url: str, key: str, poster: Poster) -> None:
    """Its ids are as good as made up, its accounts have no events."""
    (posted,) = poster.post()
    other = new_key(url)
    with pytest.raises(InvalidStatus) as refused:
        hear(served.port, other, f"?after={posted}")
    assert refused.value.response.status_code == 422
    with hear(served.port, other, f"?after=0&account_id={poster.source}") as foreign, hear(served.port, other) as own:
        poster.post()
        with closing(Poster(served.port, other)) as other_poster:
            other_poster.post()
            assert len(ids(own, 3)) == 3
        with pytest.raises(TimeoutError):
            foreign.recv(0.2)


@pytest.mark.parametrize(
    ("changed", "status", "field"),
    [
        ({"Sec-WebSocket-Version": "8"}, 400, "Sec-WebSocket-Version"),
        ({"Sec-WebSocket-Key": "abc"}, 400, "Sec-WebSocket-Key"),
        ({"Sec-WebSocket-Key": None}, 400, "Sec-WebSocket-Key"), ({"Sec-WebSocket-Key": "é" * 24}, 400, "Sec-WebSocket-Key"),
        ({"Upgrade": "h2c"}, 400, "Upgrade"), ({"Upgrade": None}, 400, "Upgrade"),
        ({"Connection": "close"}, 400, "Connection"), ({"Content-Length": "3"}, 400, "body"),
        ({"Authorization": "Bearer x"}, 401, ""), ({"Last-Event-ID": "77777"}, 422, "Last-Event-ID"),
    ],
)  # fmt: skip
def test_what_is_no_handshake_is_refused(
    served: Serve, key: str, changed: dict[str, str | None], status: int, field: str
) -> None:
    """As every other request, with the field to blame, and the version that is spoken."""
    with RawSocket(served.port, key, changed=changed, body=b"abc" if "Content-Length" in changed else b"") as raw:
        assert raw.status == status
        assert raw.headers.get("sec-websocket-version", "13") == "13"
        assert field in raw.body().decode()


def test_a_refusal_is_one_for_the_public_client_too(served: Serve, url: str, key: str) -> None:
    """A key without the scope, a wrong filter."""
    for bad_key, query, status in ((new_key(url, "users:read"), "", 403), (key, "?types=x", 422), (key, "?follow=false", 422)):
        with pytest.raises(InvalidStatus) as refused:
            hear(served.port, bad_key, query)
        assert refused.value.response.status_code == status


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(TEXT, b"x" * 65_537), 1009, id="a message too long"),
        pytest.param(b"\x81\xff" + (100 * 2**20).to_bytes(8, "big") + b"mask" + b"x" * 200_000, 1009, id="100 MiB"),
        pytest.param(frame(TEXT, b"x" * 40_000, fin=False) + frame(0, b"x" * 40_000), 1009, id="parts too long together"),
        pytest.param(frame(TEXT, b"\xff\xfe"), 1007, id="no UTF-8"),
        pytest.param(frame(TEXT, "ä".encode()[:1], fin=False) + frame(0, b"x"), 1007, id="half a character"),
        pytest.param(frame(CLOSE, b"\x03\xe8\xff"), 1007, id="no UTF-8 in a close"),
        pytest.param(frame(TEXT, b"x", mask=False), 1002, id="no mask"),
        pytest.param(frame(3, b"x"), 1002, id="an unknown kind"),
        pytest.param(frame(0, b"x"), 1002, id="a part of nothing"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="a long ping"),
        pytest.param(frame(PING, b"x", fin=False), 1002, id="half a ping"),
        pytest.param(frame(TEXT, b"x", rsv=4), 1002, id="an unknown bit"),
        pytest.param(frame(CLOSE, b"x"), 1002, id="a close of one byte"),
        pytest.param(frame(CLOSE, b"\x00\x01"), 1002, id="a close of an unknown code"),
        pytest.param(frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002, id="a message within a message"),
        pytest.param(b"\x81\xfe\x00\x05mask12345", 1002, id="a length that is too wide"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1002, id="a request"),
        pytest.param(frame(TEXT, b"x") * 300, 1008, id="many messages"),
        pytest.param(frame(PING, b"x") * 300, 1008, id="many pings"),
        pytest.param(frame(CLOSE, b"\x03\xe8bye"), 1000, id="a close"),
        pytest.param(frame(CLOSE, b"\x0f\xa0"), 4000, id="a close of its own code"),
    ],
)
def test_who_breaks_the_rules_is_told_which(served: Serve, key: str, sent: bytes, code: int) -> None:
    """By the code of RFC 6455 with a reason, and then the connection ends."""
    with RawSocket(served.port, key) as raw:
        assert raw.status == 101
        raw.send(sent)
        opcode, payload = raw.until(CLOSE)
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
        assert payload[2:].decode() or code in (1000, 4000)
        assert raw.at_end()


def test_what_a_client_says_is_passed_over(served: Serve, key: str, poster: Poster) -> None:
    """Messages that are few and small, and pings, which are answered."""
    with RawSocket(served.port, key) as raw:
        raw.send(frame(TEXT, b"hello") + frame(2, b"\x00"))
        raw.send(frame(TEXT, b"a", fin=False) + frame(PING, b"there?") + frame(0, b"b"))
        assert raw.until(PONG) == (PONG, b"there?")
        (posted,) = poster.post()
        assert json.loads(raw.until(TEXT)[1])["id"] == posted


def test_nothing_that_is_sent_harms_the_server(served: Serve, key: str, poster: Poster) -> None:
    """Frames that were changed, cut and mixed, and no frames at all: each ends by itself, and others are told as before."""
    chance = Random(6455)
    with hear(served.port, key) as bystander:
        for _ in range(60):
            with RawSocket(served.port, key) as raw:
                raw.send(mangled(chance))
                raw.sock.shutdown(socket.SHUT_WR)
                opcodes = [opcode for opcode, _ in raw.everything()]
                assert opcodes.count(CLOSE) <= 1
                assert CLOSE not in opcodes[:-1]
        posted = poster.post(3)
        assert ids(bystander, 3) == posted
    assert "Traceback" not in served.log.read_text()


def mangled(chance: Random) -> bytes:
    """Some frames, of which some bytes were changed, or left out."""
    data = bytearray()
    for _ in range(chance.randint(1, 5)):
        payload = chance.randbytes(chance.choice([0, 1, 2, 5, 125, 126, 300, 70_000]))
        data += frame(
            chance.choice([0, 1, 2, 3, 8, 9, 10, 15]), payload, fin=chance.random() < 0.8, mask=chance.random() < 0.9,
            rsv=chance.choice([0, 0, 0, 0, 4]),
        )
    for _ in range(chance.choice([0, 0, 1, 3])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data[: chance.choice([len(data), chance.randrange(len(data) + 1)])])


def test_frames_may_come_with_the_handshake(served: Serve, key: str) -> None:
    """A client that does not wait for the answer is heard all the same."""
    with RawSocket(served.port, key, body=frame(PING, b"early")) as raw:
        assert raw.status == 101
        assert raw.until(PONG) == (PONG, b"early")


def test_who_leaves_without_a_word_gives_its_place_back(database_url: str, tmp_path: Path) -> None:
    """In the middle of a frame, of a handshake, or with a reset: again and again, with two places."""
    with serving(tmp_path, database_url, LEDGERD_LIVE_CLIENTS="2") as server:
        key = server.key()

        def is_let_in() -> bool:
            with RawSocket(server.port, key) as raw:
                return raw.status == 101

        for sent in (b"", b"\x81", frame(TEXT, b"hello")[:-1], frame(PING), frame(CLOSE, b"\x03\xe8")):
            with RawSocket(server.port, key) as raw:
                assert raw.status == 101
                raw.send(sent)
            wait_until(is_let_in, 10)


def test_a_silent_client_is_asked_and_then_let_go(database_url: str, tmp_path: Path) -> None:
    """One that answers pings stays, without a single event; one that does not is told so."""
    with serving(tmp_path, database_url, LEDGERD_LIVE_HEARTBEAT_S="0.3", LEDGERD_TIMEOUT_S="1") as server:
        key = server.key()
        with hear(server.port, key, ping_interval=None) as answering, RawSocket(server.port, key) as silent:
            opcode, payload = silent.until(CLOSE)
            assert (opcode, payload[:2], payload[2:8]) == (CLOSE, (1008).to_bytes(2, "big"), b"silent")
            with pytest.raises(TimeoutError):
                answering.recv(2)
            with closing(Poster(server.port, key)) as poster:
                poster.post()
                assert len(ids(answering, 3)) == 3


def test_a_stop_closes_with_going_away(database_url: str, tmp_path: Path) -> None:
    """1001 to all, soon, be they reading or not."""
    with serving(tmp_path, database_url, LEDGERD_WORKERS="2", LEDGERD_SHUTDOWN_TIMEOUT_S="20") as server, ExitStack() as stack:
        key = server.key()
        connections = [stack.enter_context(hear(server.port, key)) for _ in range(8)]
        stack.enter_context(RawSocket(server.port, key))  # one that says nothing
        server.process.send_signal(signal.SIGTERM)
        assert {close_of(connection) for connection in connections} == {(1001, "draining: This process is about to stop.")}
        assert server.process.wait(15) == 0


def test_streams_end_with_their_key(database_url: str, tmp_path: Path) -> None:
    """Of both kinds, in every worker, soon after it is revoked or has expired; those of other keys go on."""
    with serving(tmp_path, database_url, LEDGERD_WORKERS="2") as server, ExitStack() as stack:
        admin = stack.enter_context(closing(HttpClient(server.port, server.key())))
        bodies = ({"scopes": ["read"]}, {"scopes": ["read"], "expires_in_s": 2}, {"scopes": ["write"]})
        revoked, expiring, staying = (admin.call("POST", "/api/keys", body).json for body in bodies)
        over = [stack.enter_context(hear(server.port, made["key"])) for made in (revoked, expiring) for _ in range(4)]
        streams = [stack.enter_context(listen(server.port, made["key"])) for made in (revoked, expiring) for _ in range(4)]
        others = [stack.enter_context(hear(server.port, staying["key"])) for _ in range(4)]
        assert admin.call("DELETE", f"/api/keys/{revoked['id']}").status == 204
        for connection in over:
            code, reason = close_of(connection)
            assert (code, reason[:4]) == (1008, "key:")
        for stream in streams:
            last = stream.rest()[-1]
            assert (last.event, last.json["reason"], stream.ended) == ("dropped", "key", True)
        opened = admin.call("POST", "/api/accounts", {"asset": "USD/2"}).json["id"]
        for connection in others:
            assert json.loads(connection.recv(20))["data"]["account"]["id"] == opened


def test_streams_are_counted_and_logged(database_url: str, tmp_path: Path) -> None:
    """Clients while they are there; one line each at the end, with its bytes; their time is no request's."""
    with serving(tmp_path, database_url, LEDGERD_LOG_LEVEL="info") as server:
        key = server.key()
        with closing(Poster(server.port, key)) as poster, hear(server.port, key) as socket, listen(server.port, key) as stream:

            def figures() -> dict[str, float]:
                lines = poster.http.call("GET", "/metrics").body.decode().splitlines()
                return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

            wait_until(lambda: figures()["ledgerd_live_clients"] == 2, 10)
            poster.post(5)
            assert len(ids(socket, 5)) == len(stream.events(5)) == 5
            wait_until(lambda: figures()["ledgerd_live_events_total"] == 10, 10)
            assert figures()["ledgerd_live_delay_seconds_count"] >= 1
            assert figures()["ledgerd_live_lag_seconds"] < 5
        with closing(Poster(server.port, key)) as poster:
            wait_until(lambda: figures()["ledgerd_live_clients"] == 0, 10)
            found = figures()
        assert found['ledgerd_http_requests_total{method="GET",route="/api/events",status="200"}'] == 1
        assert found['ledgerd_http_requests_total{method="GET",route="/api/events/ws",status="101"}'] == 1
        assert found['ledgerd_http_response_bytes_total{route="/api/events/ws"}'] > 1_000
        assert not any("duration_seconds_count" in name and "/api/events" in name and found[name] for name in found)
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if '"/api/events' in line]
    assert {(line["route"], line["status"], line["bytes"] > 1_000) for line in lines} == {
        ("/api/events", 200, True), ("/api/events/ws", 101, True),
    }


def test_who_does_not_read_is_let_go_and_harms_nobody(database_url: str, tmp_path: Path) -> None:
    """While others are told everything; and it comes back to where it was."""
    with serving(tmp_path, database_url) as server, ExitStack() as stack:
        key = server.key()
        poster = stack.enter_context(closing(Poster(server.port, key)))
        stalled = [stack.enter_context(RawSocket(server.port, key, receive_buffer=4096)) for _ in range(3)]
        reading = stack.enter_context(hear(server.port, key))
        found: list[int] = []
        metadata = {"note": "x" * 900}
        for number in range(12):
            transfers = [{**poster.transfer(), "metadata": metadata}] * 400
            reply = poster.http.call("POST", "/api/transfers/bulk", {"transfers": transfers}, Idempotency_Key=f"n{number}")
            assert reply.status == 200
            found += ids(reading, 400)
        for _ in range(300):
            found += poster.post() and ids(reading, 1)
        assert found == sorted(set(found))
        for raw in stalled:
            ended = raw.everything()  # it reads at last: what the kernel had, and then the end
            assert len(ended) < len(found)
        with hear(server.port, key, f"?after={found[0]}") as again:
            assert ids(again, len(found) - 1) == found[1:]


def test_a_hundred_megabytes_are_not_taken(served: Serve, key: str) -> None:
    """The public client is told 1009 in the middle of its message, and the worker does not grow by it."""
    payload = "x" * (100 * 2**20)
    for _ in range(2):
        with hear(served.port, key, max_size=None, compression=None) as connection:
            with pytest.raises(ConnectionClosed) as end:
                connection.send(payload)
                connection.recv(20)
            assert end.value.rcvd is not None
            assert end.value.rcvd.code == 1009
    assert all(resident_mib(pid) < 200 for pid in served.workers())
