"""Answers of any length, sent piece by piece while they are made.

The request's own context ends when its handler returns; a stream has another one, which ends when its time is up, when the
client leaves, or when the server has no more use for it. What goes wrong before the first piece is an answer of its own;
later, the connection is reset, so nobody takes a part for the whole, not even by HTTP/1.0, where the end of a connection is
the end of the body.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Generator, Iterator
from wsgiref.types import WSGIEnvironment

from service.api.calls import Answer, Call
from service.concurrency.context import Context, background, with_timeout
from service.concurrency.semaphore import Semaphore
from service.errors import ClientClosedRequest, LedgerdError, Overloaded
from service.middleware.deadline import end_with_client
from service.middleware.environ import BEGIN_STREAM, REQUEST_ID

log = logging.getLogger(__name__)

Pieces = Callable[[Context], Generator[bytes, None, None]]


class Streams:
    """Makes streams, `most` at once in this process, for `longest_s` seconds each."""

    def __init__(self, *, most: int, longest_s: float) -> None:
        self._free = Semaphore(most)
        self._longest_s = longest_s

    def answer(self, call: Call, pieces: Pieces, **headers: str) -> Answer:
        """200 with `pieces(ctx)`, of which the first is made at once. Raises Overloaded when too many are under way."""
        answer = Answer(None, 200, **headers)
        if call.environ["REQUEST_METHOD"] == "HEAD":
            return answer.without_length()
        if not self._free.acquire_nowait():
            raise Overloaded("As many streams as this process sends at once are under way.", retry_after_s=5)
        answer.body = _Stream(call, pieces, self._longest_s, self._free.release)
        return answer


class _Stream:
    """The body; the server closes it, whatever became of it."""

    def __init__(self, call: Call, pieces: Pieces, longest_s: float, ended: Callable[[], None]) -> None:
        self._environ: WSGIEnvironment = call.environ
        self._ended = ended
        self._ctx = with_timeout(background(), longest_s)
        self._pieces = pieces(self._ctx)
        forget = call.ctx.on_done(lambda: self._ctx.cancel(call.ctx.error()))
        try:
            self._first = next(self._pieces, b"")
        except BaseException:
            self.close()
            raise
        finally:
            forget()

    def __iter__(self) -> Iterator[bytes]:
        end_with_client(self._environ, self._ctx)  # only now: the request's own context had the place
        fields = {"request_id": self._environ.get(REQUEST_ID)}
        try:
            yield self._first
            yield from self._pieces
        except ClientClosedRequest:
            pass  # nobody misses the rest
        except LedgerdError as error:
            log.warning("an answer broke off: %s", error, extra={"fields": fields | {"code": error.code}})
        except Exception:
            log.exception("an answer broke off", extra={"fields": fields})
        else:
            return
        cut: Callable[[], None] = self._environ.get(BEGIN_STREAM, _nothing_to_cut)()
        cut()
        raise ConnectionResetError(errno.ECONNRESET, "the answer broke off")

    def close(self) -> None:
        """End what makes the pieces, and wait for that."""
        self._ctx.cancel()
        try:
            self._pieces.close()
        finally:
            ended, self._ended = self._ended, _nothing
            ended()


def _nothing() -> None:
    return None


def _nothing_to_cut() -> Callable[[], None]:
    return _nothing
