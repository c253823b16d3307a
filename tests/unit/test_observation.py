"""Every request is observed once, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from service.middleware.answer_headers import answer_headers
from service.middleware.observation import observation
from tests.unit.test_middleware import call


class Watcher:
    """Counts beginnings, and keeps what it is told of ends: status and bytes."""

    def __init__(self) -> None:
        self.began = 0
        self.ended: list[tuple[int, int]] = []

    def begin(self) -> None:
        self.began += 1

    def end(self, _environ: Any, status: int, duration_s: float, sent: int) -> None:
        assert duration_s >= 0
        self.ended.append((status, sent))


class Pieces:
    """An answer in pieces; notes that it was closed."""

    def __init__(self, *pieces: bytes, fails: bool = False) -> None:
        self._pieces, self._fails, self.closed = pieces, fails, False

    def __iter__(self) -> Iterable[bytes]:  # type: ignore[misc]
        yield from self._pieces
        if self._fails:
            raise OSError("the client has gone")

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def watcher() -> Watcher:
    """A fresh one."""
    return Watcher()


def answering(body: Any) -> Callable[..., Any]:
    """An application that answers with `body`."""

    def app(environ: Any, start_response: Any) -> Any:
        start_response("201 Created", [])
        return body

    return app


def observed(watcher: Watcher, app: Callable[..., Any]) -> Any:
    """The application, watched."""
    return answer_headers(observation(watcher.begin, [watcher.end])(app))


def test_an_answer_of_one_piece(watcher: Watcher) -> None:
    """It is handed on as it is: the server sends such a list in one go."""
    body = [b"abc"]
    assert observed(watcher, answering(body))({}, lambda *_: None) is body
    assert (watcher.began, watcher.ended) == (1, [(201, 3)])


def test_an_answer_in_pieces_ends_when_it_is_closed(watcher: Watcher) -> None:
    """With the bytes that the server has taken, once; the answer's own close is called."""
    pieces = Pieces(b"ab", b"cde", b"f")
    body = observed(watcher, answering(pieces))({}, lambda *_: None)
    taken = iter(body)
    assert next(taken) + next(taken) == b"abcde"
    assert watcher.ended == []
    body.close()
    body.close()
    assert pieces.closed
    assert watcher.ended == [(201, 5)]


def test_an_answer_that_is_read_to_its_end_is_told_once(watcher: Watcher) -> None:
    """Whether the server then closes it or not."""
    assert call(observed(watcher, answering(Pieces(b"ab", b"c"))))[2] == b"abc"
    assert watcher.ended == [(201, 3)]


def test_an_answer_that_breaks_off_is_told(watcher: Watcher) -> None:
    """With what was taken before."""
    body = observed(watcher, answering(Pieces(b"ab", fails=True)))({}, lambda *_: None)
    with pytest.raises(OSError, match="gone"):
        list(body)
    body.close()
    assert watcher.ended == [(201, 2)]


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1)])
def test_a_request_without_an_answer_is_told(watcher: Watcher, error: BaseException) -> None:
    """Status 0; the error goes on."""

    def app(environ: Any, start_response: Any) -> Any:
        raise error

    with pytest.raises(type(error)):
        observed(watcher, app)({}, lambda *_: None)
    assert (watcher.began, watcher.ended) == (1, [(0, 0)])


def test_a_watcher_that_fails_harms_nobody(watcher: Watcher, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the request nor the other watchers; the log says what happened."""

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    app = answer_headers(observation(watcher.begin, [broken, watcher.end])(answering([b"x"])))
    assert call(app)[2] == b"x"
    assert watcher.ended == [(201, 1)]
    assert caplog.records[0].exc_info is not None
