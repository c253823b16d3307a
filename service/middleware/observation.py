"""Every request is measured once, and those who watch are told: the log, the metrics, the traces.

An answer ends when its last byte was taken by the server, or when the server gives it up. A watcher that fails harms no
request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.concurrency.primitives import monotonic
from service.middleware.environ import ANSWER_STATUS, Middleware

log = logging.getLogger(__name__)

Ended = Callable[[WSGIEnvironment, int, float, int], None]
"""Told of an answer: the request's environment, the status (0: none), its seconds, and the bytes of its body."""


def observation(began: Callable[[], None], ended: Sequence[Ended]) -> Middleware:
    """Call `began` before each request, and each of `ended` after its answer, exactly once."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_observation(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            def end(sent: int) -> None:
                tell(ended, environ, environ[ANSWER_STATUS], monotonic() - began_at, sent)

            began()
            began_at = monotonic()
            try:
                body = app(environ, start_response)
            except BaseException:  # the server ends the request itself, or the greenlet is killed
                end(0)
                raise
            if type(body) is list:  # it is all there, and the server sends it in one piece
                end(sum(map(len, body)))
                return body
            return _Observed(body, end)

        return with_observation

    return layer


def tell(ended: Sequence[Ended], environ: WSGIEnvironment, status: int, duration_s: float, sent: int) -> None:
    """Tell each of `ended` of an answer, whatever the others do."""
    for told in ended:
        try:
            told(environ, status, duration_s, sent)
        except Exception:
            log.exception("a request could not be observed")


class _Observed:
    """An answer in pieces: `end` is called with their bytes when it is closed (PEP 3333), or has been read to its end."""

    def __init__(self, body: Iterable[bytes], end: Callable[[int], None]) -> None:
        self._body = body
        self._end: Callable[[int], None] | None = end
        self._sent = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            self._sent += len(piece)
            yield piece
        self._finish()

    def close(self) -> None:
        """What the server calls at the end, whatever happened."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._finish()

    def _finish(self) -> None:
        if (end := self._end) is not None:
            self._end = None
            end(self._sent + getattr(self._body, "sent", 0))  # what it sent by itself, after an upgrade
