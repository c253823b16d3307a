"""Being registered: what a service that others find in the registry does for as long as it serves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from service.client.client import Client
from service.concurrency.context import Context, background, with_timeout
from service.errors import LedgerdError, NotFound

log = logging.getLogger(__name__)

LEASE_S = 15
LEAVE_TIMEOUT_S = 5.0


def stay_registered(
    ctx: Context, client: Client, service: str, instance_id: str, address: str, *, lease_s: int = LEASE_S,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Register an instance, renew that every third of its lease until `ctx` ends, and take it out then. It blocks until then.

    `address` is `HOST:PORT` or an http(s) URL. What may go by is logged and tried again; a refusal is raised: InvalidInput,
    Forbidden, Unauthenticated, LimitExceeded.
    """
    path = f"/api/services/{quote(service, safe='')}/instances/{quote(instance_id, safe='')}"
    body = {"address": address, "lease_s": lease_s, "metadata": dict(metadata or {})}
    may_be_there = False
    try:
        while ctx.error() is None:
            try:
                with with_timeout(ctx, lease_s / 3) as bounded:
                    client.call(bounded, "PUT", path, body)
            except LedgerdError as error:
                if ctx.error() is None and not error.retryable:
                    raise
                log.warning("%s of %s cannot be registered, for now: %s", instance_id, service, error.message)
            may_be_there = True
            ctx.done.wait(lease_s / 3)
    finally:
        if may_be_there:
            _leave(client, path)


def _leave(client: Client, path: str) -> None:
    try:
        with with_timeout(background(), LEAVE_TIMEOUT_S) as ctx:
            client.call(ctx, "DELETE", path)
    except NotFound:
        pass  # its lease has ended
    except LedgerdError as error:
        log.info("an instance stays registered until its lease ends: %s", error.message)
