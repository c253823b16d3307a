"""/openapi.json: the contract; /docs: a page to read it on, which needs nothing from elsewhere. Neither needs a key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib import resources

from service.api.calls import Answer, Call
from service.api.conditions import is_known
from service.api.openapi import document
from service.api.parameters import IF_NONE_MATCH, TAG
from service.api.routes import Header, Media, Route

_OURS, _SWAGGER_UI = "service.api", "flask_swagger_ui"
FILES = {  # path: (package, file in it, media type); there are no others
    "/docs": (_OURS, "pages/index.html", "text/html"),
    "/docs/start.js": (_OURS, "pages/start.js", "text/javascript"),
    "/docs/swagger-ui.css": (_SWAGGER_UI, "dist/swagger-ui.css", "text/css"),
    "/docs/swagger-ui-bundle.js": (_SWAGGER_UI, "dist/swagger-ui-bundle.js", "text/javascript"),
    "/docs/favicon-32x32.png": (_SWAGGER_UI, "dist/favicon-32x32.png", "image/png"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "ETag": Header("changes with the content", TAG),
    "Cache-Control": Header("kept, but asked for again with `If-None-Match`", {"const": "no-cache"}),
    "X-Content-Type-Options": Header("the type is what `Content-Type` says", {"const": "nosniff"}),
    "Content-Security-Policy": Header("nothing from elsewhere, and in no frame", {"const": _POLICY}),
}


class DocumentHandlers:
    """The handlers; `routes` gives all routes, these included, once they are known."""

    def __init__(self, routes: Callable[[], Sequence[Route]]) -> None:
        self._routes = routes
        self._document: _File | None = None

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/openapi.json", handler=self.openapi, scope=None, summary="This document",
            headers=(IF_NONE_MATCH,), answers={200: Media(("application/json",), {"type": "object"}), 304: None},
            answer_headers=_HEADERS,
        )
        for path, (package, name, media_type) in FILES.items():
            yield Route(
                method="GET", path=path, handler=_sender(package, name, media_type), scope=None,
                operation=name.rpartition("/")[2], summary=f"A page to read this document on: its {name.rpartition('/')[2]}",
                headers=(IF_NONE_MATCH,), answers={200: Media((media_type,)), 304: None}, answer_headers=_HEADERS,
            )

    def openapi(self, call: Call) -> Answer:
        """The document, made at the first call."""
        if self._document is None:
            self._document = _File(json.dumps(document(self._routes())).encode(), "application/json")
        return self._document.answer(call)


class _File:
    """Bytes that stay the same, and their entity tag."""

    def __init__(self, body: bytes, media_type: str) -> None:
        self._body = body
        self._media_type = media_type
        self._tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    def answer(self, call: Call) -> Answer:
        """200 with the bytes, or 304 to a client that has them (RFC 9110, 13.1.2)."""
        fresh = is_known(call, self._tag)
        answer = Answer(None, 304 if fresh else 200, ETag=self._tag, Cache_Control="no-cache")
        answer.headers += [("X-Content-Type-Options", "nosniff"), ("Content-Security-Policy", _POLICY)]
        if not fresh:
            charset = "; charset=utf-8" if self._media_type.startswith("text/") else ""
            answer.body = self._body
            answer.headers.append(("Content-Type", self._media_type + charset))
        return answer


def _sender(package: str, name: str, media_type: str) -> Callable[[Call], Answer]:
    return lambda call: _read(package, name, media_type).answer(call)


@cache
def _read(package: str, name: str, media_type: str) -> _File:
    """A file of a package, read at the first call and kept."""
    return _File(resources.files(package).joinpath(name).read_bytes(), media_type)
