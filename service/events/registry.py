"""The service registry: which instances a service has, and where. Each is there for as long as it renews its lease.

An instance is registered by a ledger's key, and seen by the keys of that ledger alone. Names that begin with `ledgerd` are
ledgerd's own: they belong to the ledger 0, which no key has, so everybody may look there and nobody may write. Leases end by
the database's clock. What has ended is there no more for anybody, and its row is removed some time after.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from service.concurrency.context import Context, with_timeout
from service.errors import FieldError, Forbidden, LedgerdError, NotFound

log = logging.getLogger(__name__)

HOST_LEDGER = 0
HOST_SERVICE = "ledgerd"
SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
SERVICE_NAME_SHAPE = "1 to 63 of a-z, 0-9 and -, beginning with a letter or digit"
INSTANCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
INSTANCE_ID_SHAPE = "1 to 128 of A-Z, a-z, 0-9, ., _ and -, beginning with a letter or digit"
LONGEST_LEASE_S = 3600
MOST_INSTANCES = 10_000  # a ledger
SWEEP_EVERY_S = 10.0
SWEEP_TIMEOUT_S = 10.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Instance:
    """A live instance. `number` is in the order of registration; `left_s` is what was left of its lease when it was read."""

    number: int
    service: str
    id: str
    address: str
    metadata: Mapping[str, Any]
    lease_s: int
    registered_at: datetime
    expires_at: datetime
    left_s: float


@dataclass(frozen=True, slots=True)
class Registration:
    """What an instance says of itself. `lease_s`: for how long, from 1 to LONGEST_LEASE_S seconds, unless it says so again."""

    service: str
    instance_id: str
    address: str
    lease_s: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Service:
    """A name with how many live instances it has; `first` is the number of the oldest."""

    name: str
    instances: int
    first: int


class InstanceStore(Protocol):
    """What the repository does for the registry. What it finds is live, by the database's clock, at the primary."""

    def register(self, ctx: Context, ledger_id: int, given: Registration, *, most: int) -> tuple[Instance, bool]: ...
    def heartbeat(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> Instance | None: ...
    def deregister(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> bool: ...
    def find_instance(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> Instance | None: ...
    def list_instances(
        self, ctx: Context, ledger_id: int, service: str, *, after: int, limit: int
    ) -> Sequence[Instance]: ...
    def list_services(self, ctx: Context, ledger_id: int, *, after: int, limit: int) -> Sequence[Service]: ...
    def delete_expired(self, ctx: Context) -> int: ...


def owner_of(service: str, ledger_id: int) -> int:
    """The ledger that `service` belongs to where a key of `ledger_id` names it: that one, or the host's own."""
    return HOST_LEDGER if is_of_host(service) else ledger_id


def is_of_host(service: str) -> bool:
    """Whether the name is one of ledgerd's own."""
    return service == HOST_SERVICE or service.startswith(f"{HOST_SERVICE}-")


class Registry:
    """The services of all ledgers; every call names the ledger of the key."""

    def __init__(self, store: InstanceStore, *, most: int = MOST_INSTANCES) -> None:
        self._store = store
        self._most = most

    def register(self, ctx: Context, ledger_id: int, given: Registration) -> tuple[Instance, bool]:
        """Register an instance, or renew it as `given` has it now; tells whether it is new.

        Raises Forbidden for a name of ledgerd's own, LimitExceeded when the ledger has as many instances as it may.
        """
        _check_writable(given.service)
        return self._store.register(ctx, ledger_id, given, most=self._most)

    def heartbeat(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> Instance:
        """Renew a lease for as long again. Raises NotFound when it has ended, Forbidden for a name of ledgerd's own."""
        _check_writable(service)
        return _found(self._store.heartbeat(ctx, ledger_id, service, instance_id), service, instance_id)

    def deregister(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> None:
        """End a lease now. Raises NotFound when it has ended, Forbidden for a name of ledgerd's own."""
        _check_writable(service)
        _found(self._store.deregister(ctx, ledger_id, service, instance_id) or None, service, instance_id)

    def find(self, ctx: Context, ledger_id: int, service: str, instance_id: str) -> Instance:
        """One instance. Raises NotFound."""
        owner = owner_of(service, ledger_id)
        return _found(self._store.find_instance(ctx, owner, service, instance_id), service, instance_id)

    def list(self, ctx: Context, ledger_id: int, service: str, *, after: int = 0, limit: int = 50) -> Sequence[Instance]:
        """Up to `limit` instances with numbers above `after`, in the order of registration; none of a name nobody has."""
        return self._store.list_instances(ctx, owner_of(service, ledger_id), service, after=after, limit=limit)

    def list_services(self, ctx: Context, ledger_id: int, *, after: int = 0, limit: int = 50) -> Sequence[Service]:
        """Up to `limit` services that have instances, by their oldest, from above `after`; ledgerd's own among them."""
        return self._store.list_services(ctx, ledger_id, after=after, limit=limit)

    def run(self, ctx: Context) -> None:
        """As a background task: remove what has expired, again and again until `ctx` ends."""
        while not ctx.done.wait(SWEEP_EVERY_S):
            try:
                with with_timeout(ctx, SWEEP_TIMEOUT_S) as bounded:
                    self._store.delete_expired(bounded)
            except LedgerdError as error:
                log.info("expired instances could not be removed, and are looked for again: %s", error.message)


def _check_writable(service: str) -> None:
    if is_of_host(service):
        message = "names that begin with `ledgerd` are of ledgerd's own instances, which register themselves"
        raise Forbidden(f"service: {message}.", fields=(FieldError("service", message),))


def _found(found: T | None, service: str, instance_id: str) -> T:
    if found is None:
        raise NotFound(f"No instance {instance_id!r} of {service!r}, or its lease has ended.")
    return found
