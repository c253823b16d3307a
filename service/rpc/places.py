"""What may hold a thread for long is bounded in number, so that it leaves the threads for other calls; it ends at a stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.concurrency.context import Context
from service.concurrency.semaphore import Semaphore
from service.errors import Overloaded, Unavailable
from service.rpc.environ import LIFE

RETRY_AFTER_S = 5


class Places:
    """The places of one kind of calls in this process, `most` of them; they end when `serving` ends."""

    def __init__(self, most: int, serving: Context) -> None:
        self._free = Semaphore(most)
        self._serving = serving

    def unary(self, behaviour: WSGIApplication) -> WSGIApplication:
        """`behaviour`, whose calls take a place each. Raises Overloaded where there is none."""

        def with_place(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            self._take()
            try:
                return list(behaviour(environ, start_response))
            finally:
                self._free.release()

        return with_place

    def stream(self, behaviour: WSGIApplication) -> WSGIApplication:
        """The same of a stream, which ends at a stop. Raises Unavailable after that."""

        def with_place(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            self._take()
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

    def _take(self) -> None:
        if not self._free.acquire_nowait():
            message = "As many of these calls as this process takes at once are under way."
            raise Overloaded(message, retry_after_s=RETRY_AFTER_S)


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
