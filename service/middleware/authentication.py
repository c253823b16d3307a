"""Who sends a request: the API key in `Authorization: Bearer`. Every path needs one but those that are open to everybody.

A key that has not been valid in this process before costs its client address a token until it proves to be valid: a flood of
wrong keys is refused before it reaches the database. Keys that are known to be valid pay nothing there, so whoever guesses
keys holds up nobody who has one, be it from the same address.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.concurrency.context import Context
from service.errors import Overloaded, Unauthenticated, Unavailable
from service.middleware.environ import CONTEXT, PRINCIPAL, Middleware
from service.middleware.rate_limit import REFUSED, Callers

MOST_KNOWN = 4096  # keys; then all have to prove themselves once more

Authenticate = Callable[[Context, str], object]


def authentication(authenticate: Authenticate, public_paths: Collection[str], callers: Callers) -> Middleware:
    """Set `ledgerd.principal` to what `authenticate(ctx, token)` returns; it raises Unauthenticated.

    Raises RateLimited where `callers` have sent too many that were not valid.
    """
    check = _Check(authenticate, callers)

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_authentication(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if environ["PATH_INFO"] not in public_paths:
                if "HTTP_AUTHORIZATION" not in environ:
                    callers.admit(environ, REFUSED)
                    raise Unauthenticated("Send an API key: `Authorization: Bearer ldg_…`; `ledgerd key create` makes one.")
                environ[PRINCIPAL] = check(environ, token_of(environ))
            return app(environ, start_response)

        return with_authentication

    return layer


def token_of(environ: WSGIEnvironment) -> str:
    """The key that a request brings, "" for none."""
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class _Check:
    """`authenticate`, with a bound on what those may try who have no valid key."""

    def __init__(self, authenticate: Authenticate, callers: Callers) -> None:
        self._authenticate = authenticate
        self._callers = callers
        self._known: set[int] = set()  # hashes of tokens that have been valid; of no use to whoever reads them

    def __call__(self, environ: WSGIEnvironment, token: str) -> object:
        known = hash(token)
        if known in self._known:
            try:
                return self._authenticate(environ[CONTEXT], token)
            except Unauthenticated:  # revoked, or expired
                self._known.discard(known)
                raise
        self._callers.admit(environ, REFUSED)
        try:
            principal = self._authenticate(environ[CONTEXT], token)
        except (Unavailable, Overloaded):  # our fault; a client's deadline or leaving is not, or it would buy free attempts
            self._callers.take_back(environ, REFUSED)
            raise
        self._callers.take_back(environ, REFUSED)
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(known)
        return principal
