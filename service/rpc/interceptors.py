"""What every call passes, outermost first: the interceptors. This list is the only place that orders them.

They are HTTP's own middleware wherever that is not about HTTP alone, so a key, a rate limit, a request id, a trace, a log line
and a metric are the same thing in both. They are not grpc.ServerInterceptor objects: one of those runs in the thread that
accepts the calls of all, where nothing may wait, and can only choose a handler. These run in the call's own thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.api.positions import Positions, carry_positions
from service.api.problem import STATUS as HTTP_STATUS
from service.concurrency.context import Context
from service.errors import Internal, LedgerdError
from service.middleware.answer_headers import answer_headers
from service.middleware.authentication import authentication
from service.middleware.client_address import client_address
from service.middleware.environ import Middleware, within
from service.middleware.observation import Ended, observation
from service.middleware.rate_limit import AddressBuckets, Callers, OnRefusal, Taken, rate_limit
from service.middleware.recovery import recovery
from service.middleware.request_id import request_id
from service.middleware.tracing import Sample, tracing
from service.rpc.deadline import deadline
from service.rpc.environ import BEHAVIOUR, FAILURE


def intercepted(
    *,
    authenticate: Callable[[Context, str], object],
    public_paths: Collection[str],
    longest_s: Callable[[str], float | None],
    positions: Positions,
    trusted_proxies: Sequence[str],
    take_key: Callable[[Any], Taken],
    address_buckets: AddressBuckets,
    on_refusal: OnRefusal,
    sample: Sample,
    began: Callable[[], None],
    ended: Sequence[Ended],
) -> WSGIApplication:
    """What answers every call: the behaviour that its environment names, inside all of them. Scopes are checked by routes."""
    callers = Callers(address_buckets, on_refusal)
    layers: list[Middleware] = [
        client_address(trusted_proxies),
        answer_headers,
        request_id,
        tracing(sample),
        observation(began, ended),
        recovery(keep_failure),
        deadline(longest_s),
        authentication(authenticate, public_paths, callers),
        rate_limit(take_key, callers, on_refusal),
    ]
    return within(layers, carry_positions(_behave, positions))


def keep_failure(environ: WSGIEnvironment, start_response: StartResponse, error: Exception) -> Iterable[bytes]:
    """For recovery: the call ends with `error`; the log and the metrics have HTTP's status for it."""
    failure = environ[FAILURE] = error if isinstance(error, LedgerdError) else Internal("Something went wrong here.")
    start_response(f"{HTTP_STATUS[failure.code]} {failure.code}", [])
    return []


def _behave(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    behave: WSGIApplication = environ[BEHAVIOUR]
    return behave(environ, start_response)
