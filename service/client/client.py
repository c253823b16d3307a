"""The client: what a program calls. See the package for what it does and leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

from service.client.instances import Fixed, Instances, Registered, Source
from service.client.repetition import Repetition
from service.client.request import Reply, make_request
from service.concurrency.context import Context, with_timeout

TIMEOUT_S = 30.0
ATTEMPT_TIMEOUT_S = 10.0
ATTEMPTS = 8
CONNECTIONS = 32
SERVICE = "service://"
MOST_PAGES = 10  # of a service's instances, a hundred each


class Client:
    """A client of one ledger, or of any service that answers as ledgerd does, for any number of threads.

    `servers` is a base URL, several of them, or `service://NAME`: the instances that `registry`, another client, finds under
    that name. `key` is the API key, None for none. A call ends within `timeout_s` seconds, earlier where its context does; an
    attempt that may be repeated is given up after `attempt_timeout_s`, and there are `attempts` at most in all. `connections`
    bounds those to each server. Close it, or use it in a `with` statement.
    """

    def __init__(
        self, servers: str | Sequence[str], key: str | None, *, registry: Client | None = None, timeout_s: float = TIMEOUT_S,
        attempt_timeout_s: float = ATTEMPT_TIMEOUT_S, attempts: int = ATTEMPTS, connections: int = CONNECTIONS,
    ) -> None:
        self._key = key
        self._timeout_s = timeout_s
        self._instances = Instances(_source(servers, registry), connections=connections)
        self._repetition = Repetition(self._instances, attempts=attempts, attempt_timeout_s=attempt_timeout_s)

    def call(
        self, ctx: Context, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None, repeatable: bool | None = None,
    ) -> Reply:
        """The answer to a request, `body` sent as JSON, when it is a success (304 among them).

        A POST below `/api/transfers` gets an idempotency key where none is given. `repeatable` says that the request does no
        more when it takes effect twice. Unless told, that is what is safe, has a key, or is a PUT or DELETE without If-Match.

        Raises the error of the taxonomy that the server answered, by its code; Unavailable where no server could be asked;
        DeadlineExceeded or the error of `ctx` when the time is up; OutcomeUnknown where the request may have taken effect and
        nothing more can be learnt: with an idempotency key it may be sent again later. ValueError for what cannot be sent.
        """
        request = make_request(
            method, path, body, headers or {}, api_key=self._key, key=idempotency_key, repeatable=repeatable
        )
        with with_timeout(ctx, self._timeout_s) as bounded:
            return self._repetition.send(bounded, request)

    def get(self, ctx: Context, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """What a GET answers, as JSON; parameters that are None are left out. Errors as `call`."""
        return self.call(ctx, "GET", _with_query(path, query)).json

    def post(self, ctx: Context, path: str, body: Any = None, *, idempotency_key: str | None = None) -> Any:
        """What a POST answers, as JSON. Errors as `call`."""
        return self.call(ctx, "POST", path, body, idempotency_key=idempotency_key).json

    def transfer(
        self, ctx: Context, *, from_account_id: int, to_account_id: int, amount: int, idempotency_key: str | None = None,
        **fields: Any,
    ) -> dict[str, Any]:
        """Post a transfer of `amount` minor units, or a hold, once: the row of the log, also where an earlier attempt made it.

        To be sure of that over a restart of the caller too, give a key of your own. Errors as `call`.
        """
        body = {"from_account_id": from_account_id, "to_account_id": to_account_id, "amount": amount, **fields}
        posted: dict[str, Any] = self.post(ctx, "/api/transfers", body, idempotency_key=idempotency_key)
        return posted

    def pages(
        self, ctx: Context, path: str, query: Mapping[str, Any] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Each element of a list, page after page. Errors as `call`, as it is gone through; ValueError for what is no list."""
        cursor: str | None = None
        while True:
            page = self.call(ctx, "GET", _with_query(path, {**(query or {}), "cursor": cursor}), headers=headers).json
            if not isinstance(page, dict) or "next_cursor" not in page:
                raise ValueError(f"{path} does not answer a list with pages")
            yield from page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def addresses(self, ctx: Context, service: str) -> Sequence[tuple[str, float]]:
        """Where the instances of a service are, each with the seconds that its lease goes on; a thousand at most."""
        found: dict[str, float] = {}
        path, most = f"/api/services/{quote(service, safe='')}", MOST_PAGES * 100
        for instance in self.pages(ctx, path, {"limit": 100}):
            address, left_s = instance["address"], instance["expires_in_ms"] / 1000
            found[address] = max(found.get(address, 0.0), left_s)
            if len(found) == most:
                break
        return list(found.items())

    def close(self) -> None:
        """Close the connections, those that are in use when their calls end. A later call opens new ones."""
        self._instances.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _source(servers: str | Sequence[str], registry: Client | None) -> Source:
    if not isinstance(servers, str):
        return Fixed(servers)
    if not servers.startswith(SERVICE):
        return Fixed([servers])
    if registry is None:
        raise ValueError(f"{servers} needs a client for the registry: `registry=Client([...], key)`")
    service = servers.removeprefix(SERVICE)
    return Registered(lambda ctx: registry.addresses(ctx, service), service)


def _with_query(path: str, query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return f"{path}{'&' if '?' in path else '?'}{urlencode(given, doseq=True)}" if given else path
