"""GET /api/events from a real server: what happens, in order, from any point on, to any number of clients."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.events import Poster, new_key, serving
from tests.client import HttpClient
from tests.serving import Serve, wait_until
from tests.sse import Message, Stream, listen


def ids_of(messages: list[Message]) -> list[int]:
    """The ids of events."""
    return [int(message.id) for message in messages]


def begun(stream: Stream) -> Stream:
    """It is told of what happens from now on."""
    assert stream.status == 200
    assert stream.next().event == "retry"
    return stream


def test_an_event_comes_when_it_happens(served: Serve, key: str, poster: Poster) -> None:
    """As one message with its id, its type and its JSON, and nothing of before."""
    poster.post()
    with listen(served.port, key) as stream:
        begun(stream)
        assert stream.headers["content-type"] == "text/event-stream"
        assert (stream.headers["cache-control"], stream.headers["x-accel-buffering"]) == ("no-store", "no")
        (posted,) = poster.post(reference="order 7\n\nid: 99", metadata={"note": "ä\r\n"})
        (message,) = stream.events(1)
    assert (message.id, message.event) == (str(posted), "transfer.posted")
    assert message.json["id"] == posted
    assert message.json["data"]["transfer"]["reference"] == "order 7\n\nid: 99"
    assert message.json["data"]["transfer"]["metadata"] == {"note": "ä\r\n"}


@pytest.mark.parametrize("by", ["after", "Last-Event-ID"])
def test_a_stream_is_resumed_from_any_event(served: Serve, key: str, poster: Poster, by: str) -> None:
    """From each of them on: the rest, and then what happens, each once."""
    posted = poster.post(5)
    with listen(served.port, key, "?after=0") as stream:
        everything = ids_of(begun(stream).events(7))  # two accounts were opened
    assert everything[2:] == posted
    for place, event_id in enumerate((0, *everything)):
        query, headers = (f"?after={event_id}", {}) if by == "after" else ("?after=0", {"Last_Event_ID": str(event_id)})
        with listen(served.port, key, query, **headers) as stream:
            assert ids_of(begun(stream).events(len(everything) - place)) == everything[place:]
            everything += poster.post()
            assert ids_of(stream.events(1)) == everything[-1:]


def test_another_ledger_tells_nothing(served: Serve, url: str, key: str, poster: Poster) -> None:
    """Neither its events nor that there are any: its ids are as good as made up."""
    (posted,) = poster.post()
    other = new_key(url)
    with listen(served.port, other, f"?after={posted}") as stream:
        assert stream.status == 422
    with listen(served.port, other, "?after=0") as stream, listen(served.port, key) as own:
        begun(own)
        poster.post()
        begun(stream)
        own.events(1)
        with closing(HttpClient(served.port, other)) as opener:
            assert opener.call("POST", "/api/accounts", {"asset": "USD/2"}).status == 201
        assert [message.event for message in stream.events(1)] == ["account.created"]


def test_a_long_past_joins_the_present(served: Serve, key: str, poster: Poster, url: str) -> None:
    """Thousands of events from the database while more happen: no gap, none twice, and at last what happens now."""
    poster.bulk(6_000, "past")
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            poster.post()

    with ExitStack() as stack:
        streams = [stack.enter_context(listen(served.port, key, "?after=0", timeout_s=60)) for _ in range(6)]
        thread = threading.Thread(target=go_on)
        thread.start()
        try:
            found = [ids_of(stream.events(6_100)) for stream in streams]
        finally:
            stop.set()
            thread.join(30)
        (last,) = poster.post()
        for stream, ids in zip(streams, found, strict=True):
            while ids[-1] != last:
                ids.extend(ids_of(stream.events(1)))
    with psycopg.connect(url, autocommit=True) as conn:
        log = [row[0] for row in conn.execute(
            "SELECT id FROM (SELECT id, ledger_id FROM transfers UNION ALL SELECT id, ledger_id FROM account_changes) AS e"
            " WHERE ledger_id = (SELECT ledger_id FROM transfers WHERE id = %s) ORDER BY id", (last,)
        )]
    assert all(ids == log for ids in found)


def test_a_stream_outlives_the_deadline_of_requests(database_url: str, tmp_path: Path) -> None:
    """`Request-Timeout` and LEDGERD_TIMEOUT_S bound its opening; then it is silent but for heartbeats, and goes on."""
    settings = {"LEDGERD_WORKERS": "1", "LEDGERD_LIVE_HEARTBEAT_S": "0.2", "LEDGERD_TIMEOUT_S": "1"}
    with serving(tmp_path, database_url, **settings) as server:
        key = server.key()
        with listen(server.port, key, Request_Timeout="0.5") as stream:
            begun(stream)
            assert [stream.next().data for _ in range(8)] == ["heartbeat"] * 8
            with closing(HttpClient(server.port, key)) as opener:
                opened = opener.call("POST", "/api/accounts", {"asset": "USD/2"})
            assert stream.events(1)[0].json["data"]["account"]["id"] == opened.json["id"]


def test_there_is_a_bound_on_clients(database_url: str, tmp_path: Path) -> None:
    """One more is told to come back: 503, and it may when another has left."""
    settings = {"LEDGERD_WORKERS": "1", "LEDGERD_LIVE_CLIENTS": "3", "LEDGERD_DB_MAX_OPEN": "2", "LEDGERD_DB_MIN_IDLE": "1"}
    with serving(tmp_path, database_url, **settings) as server, ExitStack() as stack:
        key = server.key()
        streams = [stack.enter_context(listen(server.port, key)) for _ in range(3)]
        for stream in streams:
            begun(stream)
        with listen(server.port, key) as refused:
            assert refused.status == 503
            assert (refused.headers["retry-after"], b'"overloaded"' in refused.body()) == ("5", True)
        client = stack.enter_context(closing(HttpClient(server.port, key)))
        for _ in range(20):  # more requests than the pool has connections: the streams hold none
            assert client.call("GET", "/api/users").status == 200
        streams[0].close()

        def is_let_in() -> bool:
            with listen(server.port, key) as stream:
                return stream.status == 200

        wait_until(is_let_in, 10)


def test_a_stop_ends_streams_with_a_word(database_url: str, tmp_path: Path) -> None:
    """`draining`, and then the end of the answer: soon, also where a client does not read."""
    with serving(tmp_path, database_url, LEDGERD_WORKERS="2", LEDGERD_SHUTDOWN_TIMEOUT_S="20") as server:
        key = server.key()
        with ExitStack() as stack:
            streams = [stack.enter_context(listen(server.port, key)) for _ in range(10)]
            for stream in streams:
                begun(stream)
            server.process.send_signal(signal.SIGTERM)
            for stream in streams:
                (last,) = stream.rest()
                assert (last.event, last.json["reason"], stream.ended) == ("draining", "draining", True)
        assert server.process.wait(15) == 0


def test_head_has_no_stream(served: Serve, key: str) -> None:
    """The same headers, and then the connection is free."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
        for _ in range(2):
            sock.sendall(f"HEAD /api/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
            head = sock.recv(65536).lower()
            assert b"text/event-stream" in head
            assert b"content-length" not in head
