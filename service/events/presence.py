"""Presence: a process of ledgerd is in the registry for as long as it serves.

It registers under a short lease, which it renews three times as often as it would end, and goes at once when it is to stop. A
process that is killed is gone when its lease ends. Each process has a row of its own, though several may serve the same
address: the first that ends does not take it away from the others.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import socket
from collections.abc import Mapping
from typing import Any, Protocol

from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.errors import LedgerdError
from service.events.address import is_address
from service.events.registry import HOST_LEDGER, MOST_INSTANCES, Instance, Registration

log = logging.getLogger(__name__)

LEASE_S = 15
RENEW_EVERY_S = 5.0
TRY_AGAIN_S = 1.0
RENEW_TIMEOUT_S = 5.0
LEAVE_TIMEOUT_S = 2.0
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104  # nosec B104  # compared, not bound


class PresenceStore(Protocol):
    """What the repository does for this."""

    def register(self, ctx: Context, ledger_id: int, given: Registration, *, most: int) -> tuple[Instance, bool]: ...
    def deregister(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> bool: ...


class Presence:
    """See the module. `run` as a background task; `leave` when new work is not wanted any more."""

    def __init__(self, store: PresenceStore, *, service: str, address: str, metadata: Mapping[str, Any]) -> None:
        self._store = store
        self._given = Registration(service, own_id(), address, LEASE_S, metadata)
        self._staying = with_cancel(background())
        self._complained = False

    def run(self, ctx: Context) -> None:
        """Stay in the registry until `leave`, or until `ctx` ends; then be gone from it."""
        forget = ctx.on_done(self.leave)
        try:
            while self._staying.error() is None:
                pause_s = RENEW_EVERY_S if self._renew() else TRY_AGAIN_S
                self._staying.done.wait(pause_s)
        finally:
            forget()
            self._go()

    def leave(self) -> None:
        """Be gone from the registry as soon as it can be told; a second time does nothing."""
        self._staying.cancel()

    def _renew(self) -> bool:
        try:
            with with_timeout(self._staying, RENEW_TIMEOUT_S) as ctx:
                self._store.register(ctx, HOST_LEDGER, self._given, most=MOST_INSTANCES)
        except LedgerdError as error:
            if self._staying.error() is None and not self._complained:
                self._complained = True
                log.warning("%s cannot be registered, and tries again: %s", self._given.address, error.message)
            return False
        if self._complained:
            self._complained = False
            log.info("%s is registered again", self._given.address)
        return True

    def _go(self) -> None:
        try:
            with with_timeout(background(), LEAVE_TIMEOUT_S) as ctx:
                self._store.deregister(ctx, HOST_LEDGER, self._given.service, self._given.instance_id)
        except LedgerdError as error:
            log.info("%s stays registered for up to %d s: %s", self._given.address, LEASE_S, error.message)


def own_id() -> str:
    """An id that no other process has: the host's name and the process's number, for people, and something random."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64].lstrip("._-") or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


def own_address(advertise: str, bound: object) -> str | None:
    """What to register: `advertise`, else what a listening socket is bound to; None where neither can be reached.

    `bound` is the socket's own name. One that is bound to every address of the host is told by the host's name.
    """
    if advertise:
        return None if advertise == "off" else advertise
    if not isinstance(bound, tuple):  # a Unix socket
        return None
    host, port = bound[:2]
    name = socket.gethostname() if host in ANY_HOST else f"[{host}]" if ":" in host else host
    address = f"{name}:{port}"
    return address if is_address(address) else None
