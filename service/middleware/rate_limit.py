"""Rate limits: 429 before anything is done, and on every answer to a key how much of its limit is left.

A key has a bucket of its own. Calls without a valid key have the buckets of their client address: one for the paths that are
open to everybody, one for keys that are missing or wrong, so that guessing keys takes no probe of the same address away.
The headers are those of draft-ietf-httpapi-ratelimit-headers-10; docs/api.md says what their numbers mean here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.errors import RateLimited
from service.limits.bucket import SECOND_NS, Limit
from service.middleware.environ import ANSWER_HEADERS, CLIENT_ADDRESS, PRINCIPAL, Headers, Middleware

OPEN, REFUSED = "open", "refused"  # the uses of an address that are counted apart

Taken = tuple[Limit, bool, int]  # the limit, whether there was a token, the nanoseconds until the bucket is full
OnRefusal = Callable[[str], object]  # called with "key" or "address"


class AddressBuckets(Protocol):
    """What is counted for an address."""

    def take_address(self, use: str, address: str) -> Taken: ...
    def give_back_address(self, use: str, address: str) -> None: ...


class Callers:
    """The limit of those who send no valid key, by their client address."""

    def __init__(self, buckets: AddressBuckets, on_refusal: OnRefusal = lambda _kind: None) -> None:
        self._buckets = buckets
        self._on_refusal = on_refusal

    def admit(self, environ: WSGIEnvironment, use: str) -> None:
        """Count a call. Raises RateLimited where the address has none left."""
        limit, taken, fill_ns = self._buckets.take_address(use, environ[CLIENT_ADDRESS])
        if not taken:
            self._on_refusal("address")
            raise RateLimited("Too many calls without a valid API key from this address.", retry_after_s=limit.wait_s(fill_ns))

    def take_back(self, environ: WSGIEnvironment, use: str) -> None:
        """Do not count the call after all."""
        self._buckets.give_back_address(use, environ[CLIENT_ADDRESS])


def rate_limit(take_key: Callable[[Any], Taken], callers: Callers, on_refusal: OnRefusal = lambda _kind: None) -> Middleware:
    """Inside authentication: raises RateLimited. `take_key` is called with the principal.

    Every answer to a key has `RateLimit-Policy` and `RateLimit`, errors too.
    """

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_rate_limit(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            principal = environ.get(PRINCIPAL)
            if principal is None:
                callers.admit(environ, OPEN)
                return app(environ, start_response)
            limit, taken, fill_ns = take_key(principal)
            environ[ANSWER_HEADERS] += limit_headers(limit, fill_ns)
            if not taken:
                on_refusal("key")
                raise RateLimited("This API key has used up its rate limit.", retry_after_s=limit.wait_s(fill_ns))
            return app(environ, start_response)

        return with_rate_limit

    return layer


def limit_headers(limit: Limit, fill_ns: int) -> Headers:
    """What an answer says of its key's limit, and of what is left of it where the bucket is full in `fill_ns`."""
    return [_policy(limit), ("RateLimit", f'"key";r={limit.left(fill_ns)};t={-(-fill_ns // SECOND_NS)}')]


@lru_cache(1024)
def _policy(limit: Limit) -> tuple[str, str]:
    """Whoever sends no more than q requests in any w seconds is never refused."""
    return "RateLimit-Policy", f'"key";q={limit.burst};w={-(-limit.capacity_ns // SECOND_NS)}'
