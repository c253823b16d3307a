"""The loop asks the application for an answer from the head alone, before it calls it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.loop.conftest import OURS, Server, served
from tests.loop.exchange import exchange


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Our loop, in front of an application that has such answers."""
    with served(OURS, tmp_path_factory.mktemp("knowing") / "log", application="tests.loop.knowing:application") as server:
        yield server


def get(path: str, host: str, *fields: str, method: str = "GET", body: str = "") -> bytes:
    """A request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, "", body]
    return "\r\n".join(lines).encode()


def test_the_answer_is_whole(knowing: Server) -> None:
    """With the server's own fields, and the connection goes on; facts stay with the fields that they are about."""
    first, second, other = exchange(knowing.port, [get("/known/1", "whole"), get("/known/2", "whole"), get("/known/1", "b")])
    assert (first.status, first.told, first.fields["x-known"]) == (
        203, {"method": "GET", "path": "/known/1", "host": "whole", "peer": "127.0.0.1", "times": 1}, "yes",
    )
    assert first.fields["connection"] == "keep-alive"
    assert {"server", "date"} <= first.fields.keys()
    assert (second.told["path"], second.told["times"]) == ("/known/2", 2)
    assert other.told["times"] == 1


def test_answers_keep_the_order_of_their_requests(knowing: Server) -> None:
    """However they were made, and in whatever pieces they come."""
    paths = ["/known/1", "/a", "/known/2", "/known/3", "/b", "/c", "/known/4"]
    together = b"".join(get(path, "order") for path in paths)
    for pieces in ([together], [together[:50], together[50:]], [get(path, "order") for path in paths]):
        replies = exchange(knowing.port, pieces)
        assert [reply.told.get("path") or reply.told["called"] for reply in replies] == paths


@pytest.mark.parametrize(
    "request_", [
        get("/known/1", "c", "Connection: close"),
        get("/known/1", "c", "Content-Length: 4", method="POST", body="body"),
        get("/known/1?a=b", "c"),
        get("/known/%41", "c"),
        get("/known/1", "c", method="HEAD"),
        get("/other", "c"),
        get("/known/1", "c", "Transfer-Encoding: chunked", method="POST", body="0\r\n\r\n"),
    ],
    ids=["the last one", "a body", "a query", "something encoded", "HEAD", "another path", "in chunks"],
)
def test_it_is_called_for_all_else(knowing: Server, request_: bytes) -> None:
    """Where there is more to know than a head's fields and a plain path."""
    (reply,) = exchange(knowing.port, [request_])
    assert (reply.status, "x-known" in reply.fields) == (200, False)


def test_an_application_that_fails_to_answer_at_once_is_called(knowing: Server) -> None:
    """The log says so."""
    broken, known = exchange(knowing.port, [get("/known/broken", "d"), get("/known/1", "d")])
    assert broken.told["called"] == "/known/broken"
    assert known.told["path"] == "/known/1"
    assert "RuntimeError: broken" in knowing.log.read_text()
