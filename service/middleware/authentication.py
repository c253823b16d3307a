"""Who sends a request: the API key in `Authorization: Bearer`. Every path needs one but those that are open to everybody."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.concurrency.context import Context
from service.errors import Unauthenticated
from service.middleware.environ import CONTEXT, PRINCIPAL, Middleware


def authentication(authenticate: Callable[[Context, str], object], public_paths: Collection[str]) -> Middleware:
    """Set `ledgerd.principal` to what `authenticate(ctx, token)` returns; it raises Unauthenticated."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_authentication(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if environ["PATH_INFO"] not in public_paths:
                header = environ.get("HTTP_AUTHORIZATION")
                if header is None:
                    raise Unauthenticated("Send an API key: `Authorization: Bearer ldg_…`; `ledgerd key create` makes one.")
                scheme, _, token = header.partition(" ")
                environ[PRINCIPAL] = authenticate(environ[CONTEXT], token.strip() if scheme.lower() == "bearer" else "")
            return app(environ, start_response)

        return with_authentication

    return layer
