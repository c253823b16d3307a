"""No body above a limit is read: one that says its length is refused at once, one that does not when it passes the limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.errors import PayloadTooLarge
from service.middleware.environ import Middleware

MEBIBYTE = 1 << 20


def body_limit(limits: Mapping[str, int | None], usual: int = MEBIBYTE) -> Middleware:
    """Raise PayloadTooLarge for bodies of more than `usual` bytes; `limits` has other limits by path, None is none."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_body_limit(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            length = environ.get("CONTENT_LENGTH")
            if not length:
                if "HTTP_TRANSFER_ENCODING" in environ:
                    if (limit := limits.get(environ["PATH_INFO"], usual)) is not None:
                        environ["wsgi.input"] = _Limited(environ["wsgi.input"], limit)
                    environ["wsgi.input_terminated"] = True
            elif int(length) > usual:
                limit = limits.get(environ["PATH_INFO"], usual)
                if limit is not None and int(length) > limit:
                    raise _too_large(limit)
            return app(environ, start_response)

        return with_body_limit

    return layer


class _Limited:
    """An input stream that may be read up to a limit."""

    def __init__(self, stream: Any, limit_bytes: int) -> None:
        self._stream = stream
        self._limit = self._left = limit_bytes

    def read(self, size: int = -1) -> bytes:
        most = self._left + 1
        data: bytes = self._stream.read(most if size < 0 else min(size, most))
        self._left -= len(data)
        if self._left < 0:
            raise _too_large(self._limit)
        return data


def _too_large(limit_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body is larger than {limit_bytes} bytes.")
