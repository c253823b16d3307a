"""Streams are bounded in number, so that they leave the threads for unary calls, and end when the process is to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.concurrency.context import Context, background, with_cancel
from service.concurrency.semaphore import Semaphore
from service.errors import Overloaded, Unavailable
from service.rpc.environ import LIFE

RETRY_AFTER_S = 5


class Streams:
    """The places of streams in this process, `most` of them."""

    def __init__(self, most: int) -> None:
        self._free = Semaphore(most)
        self._serving = with_cancel(background())

    def bounded(self, behaviour: WSGIApplication) -> WSGIApplication:
        """`behaviour`, whose calls take a place each. Raises Overloaded where there is none, Unavailable after `end`."""

        def with_place(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if not self._free.acquire_nowait():
                raise Overloaded("As many streams as this process sends at once are under way.", retry_after_s=RETRY_AFTER_S)
            life: Context = environ[LIFE]
            forget = self._serving.on_done(lambda: life.cancel(Unavailable("The service is stopping.", retry_after_s=1)))
            try:
                life.check()
                return _Placed(behaviour(environ, start_response), forget, self._free.release)
            except BaseException:
                forget()
                self._free.release()
                raise

        return with_place

    def end(self) -> None:
        """End every stream, and take no more. A second time does nothing."""
        self._serving.cancel()


class _Placed:
    """What a stream sends; its end gives the place back."""

    def __init__(self, pieces: Iterable[bytes], *ended: Callable[[], object]) -> None:
        self._pieces = pieces
        self._ended = ended

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        """The end, whatever became of it. A second time does nothing."""
        ended, self._ended = self._ended, ()
        try:
            if hasattr(self._pieces, "close"):
                self._pieces.close()
        finally:
            for tell in ended:
                tell()
