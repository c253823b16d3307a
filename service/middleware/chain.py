"""The middleware that every request passes, outermost first. This list is the only place that orders them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from wsgiref.types import WSGIApplication

from service.concurrency.context import Context
from service.middleware.answer_headers import answer_headers
from service.middleware.authentication import authentication
from service.middleware.body_limit import body_limit
from service.middleware.client_address import client_address
from service.middleware.cors import cors
from service.middleware.deadline import deadline
from service.middleware.environ import Middleware, Render, within
from service.middleware.observation import Ended, observation
from service.middleware.rate_limit import AddressBuckets, Callers, OnRefusal, Taken, rate_limit
from service.middleware.recovery import recovery
from service.middleware.request_id import request_id
from service.middleware.request_target import request_target
from service.middleware.shedding import CheckRoom, shedding
from service.middleware.tracing import Sample, tracing


def chain(
    app: WSGIApplication,
    *,
    render: Render,
    authenticate: Callable[[Context, str], object],
    public_paths: Collection[str],
    longest_s: float,
    body_limits: Mapping[str, int | None],
    cors_origins: Collection[str],
    trusted_proxies: Sequence[str],
    take_key: Callable[[Any], Taken],
    address_buckets: AddressBuckets,
    on_refusal: OnRefusal,
    sample: Sample,
    began: Callable[[], None],
    ended: Sequence[Ended],
    check_room: CheckRoom = lambda _environ: None,
) -> WSGIApplication:
    """`app` inside all of them."""
    callers = Callers(address_buckets, on_refusal)
    layers: list[Middleware] = [
        client_address(trusted_proxies),
        answer_headers,
        request_id,
        tracing(sample),
        observation(began, ended),
        cors(cors_origins),
        recovery(render),
        shedding(check_room),
        request_target,
        deadline(longest_s),
        body_limit(body_limits),
        authentication(authenticate, public_paths, callers),
        rate_limit(take_key, callers, on_refusal),
    ]
    return within(layers, app)
