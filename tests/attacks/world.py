"""Two ledgers and everything in them that a route can name, made by the names of its variables, fields and parameters.

A new route whose variable, body or parameter is not known here makes the access matrix fail, and say what to add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import psycopg
from marshmallow import Schema

from service.api.routes import Media, Route
from service.app import Application
from service.concurrency.context import background
from service.ledger.scopes import FINE
from tests.client import ApiClient, Reply
from tests.conftest import make_key

_numbers = count(1)


def _user(client: ApiClient) -> int:
    return int(client.user(email=f"user{next(_numbers)}@example.com")["id"])


def _account(client: ApiClient) -> int:
    return int(client.account(min_balance=None)["id"])


def _transfer(client: ApiClient) -> int:
    reply = client.transfer(_account(client), _account(client), 5, reference=f"order {next(_numbers)}")
    assert reply.status == 201, reply.body
    return int(reply.json["id"])


def _hold(client: ApiClient) -> int:
    reply = client.transfer(_account(client), _account(client), 5, hold=True)
    assert reply.status == 201, reply.body
    return int(reply.json["id"])


def _key(client: ApiClient) -> str:
    reply = client.post("/api/keys", {"name": "made", "scopes": ["keys:write"]})
    assert reply.status == 201, reply.body
    return str(reply.json["id"])


def _service(client: ApiClient) -> str:
    """The one service of the client's ledger, with two instances."""
    name = f"of-{(client.key or '').split('_')[1]}"
    for number in (1, 2):
        _register(client, name, f"instance-{number}")
    return name


def _instance(client: ApiClient) -> str:
    """A new one of that service."""
    name = f"instance-{next(_numbers)}-new"
    _register(client, _service(client), name)
    return name


def _register(client: ApiClient, service: str, instance_id: str) -> None:
    reply = client.call("PUT", f"/api/services/{service}/instances/{instance_id}", INSTANCE)
    assert reply.status in (200, 201), reply.body


def _webhook(client: ApiClient) -> int:
    reply = client.post("/api/webhooks", WEBHOOK)
    assert reply.status == 201, reply.body
    return int(reply.json["id"])


def _event(client: ApiClient) -> int:
    """An event that was given up, for each webhook of the client's ledger."""
    number = next(_numbers)
    ids = [webhook["id"] for webhook in client.get("/api/webhooks?limit=100").json["data"]]
    with client.application.database.pool.connection(background()) as conn:
        conn.execute(
            "INSERT INTO webhook_deliveries (ledger_id, webhook_id, event_id, status, attempts, account_ids, event_type,"
            " died_at) SELECT ledger_id, id, %s, 'dead', 1, '{1}', 'account.created', now() FROM webhooks WHERE id = ANY(%s)",
            (number, ids),
        )
    return number


WEBHOOK = {"url": "https://receiver.example/"}
INSTANCE = {"address": "127.0.0.1:9", "lease_s": 3600}
# How to make what a path's variable names, and an id that nothing has.
FACTORIES: dict[str, tuple[Callable[[ApiClient], Any], str]] = {
    "user_id": (_user, "999999999"),
    "account_id": (_account, "999999999"),
    "transfer_id": (_transfer, "999999999"),
    "hold_id": (_hold, "999999999"),
    "key_id": (_key, "0123456789ab"),
    "webhook_id": (_webhook, "999999999"),
    "event_id": (_event, "999999999"),
    "service": (_service, "of-nobody"),
    "instance_id": (_instance, "instance-of-nobody"),
}
# A body that is accepted, by the name of its schema.
BODIES: dict[str, Callable[[ApiClient], dict[str, Any]]] = {
    "UserInput": lambda _: {"name": "Ada", "email": f"body{next(_numbers)}@example.com"},
    "AccountInput": lambda _: {"asset": "USD/2"},
    "AccountChanges": lambda _: {"metadata": {"changed": True}},
    "TransferInput": lambda client: {
        "from_account_id": _account(client), "to_account_id": _account(client), "amount": 1,
    },
    "LinkedInput": lambda client: {"transfers": [BODIES["TransferInput"](client) for _ in range(2)]},
    "CaptureInput": lambda _: {"amount": 3},
    "ResolutionInput": lambda _: {},
    "BulkInput": lambda client: {
        "transfers": [{"from_account_id": _account(client), "to_account_id": _account(client), "amount": 1}],
    },
    "KeyInput": lambda _: {"name": "made", "scopes": ["keys:write"]},
    "RotationInput": lambda _: {},
    "WebhookInput": lambda _: WEBHOOK,
    "WebhookChanges": lambda _: {"description": "changed"},
    "SecretRotationInput": lambda _: {},
    "InstanceInput": lambda _: INSTANCE,
}  # fmt: skip
# A value that finds something in a ledger where `tempt` was called, for each parameter that is no id.
TEMPTING = {"email": "tempting@example.com", "reference": "tempting", "q": "tempting"}
# Parameters that choose among what one's own ledger has.
NEUTRAL = {
    "limit", "cursor", "status", "from", "to", "direction", "order", "at", "format", "name", "dry_run", "after", "types",
    "follow",
}
REQUIRED: dict[str, Callable[[], str]] = {"q": lambda: "tempting", "name": lambda: f"name{next(_numbers)}"}
# Without it a stream has no end; and from the beginning on there is something to find.
STREAMED = {"follow": "false", "after": "0"}
# Routes that take a name which a client chooses, in whatever ledger: one that nobody has is made, or has nothing yet.
OF_ANY_NAME = {("GET", "/api/services/<service>"), ("PUT", "/api/services/<service>/instances/<instance_id>")}
# A good handshake of a WebSocket.
UPGRADE = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
# Whose data is whose business: scopes that `operator` alone holds reach every ledger.
OF_EVERY_LEDGER = {"ledgers:read", "ledgers:write"}


class World:
    """Two ledgers that nobody else uses, `own` and `other`, each with an admin client."""

    def __init__(self, application: Application, database_url: str) -> None:
        self.application = application
        self.database_url = database_url
        with psycopg.connect(database_url, autocommit=True) as conn:  # fine scopes may not be storable yet
            conn.execute("ALTER TABLE api_keys DROP CONSTRAINT IF EXISTS api_keys_scopes_known")
        self._name = f"own-{next(_numbers)}"
        self.own = ApiClient(application, make_key(database_url, self._name, "admin"))
        self.other = ApiClient(application, make_key(database_url, f"other-{next(_numbers)}", "admin"))
        self._clients: dict[frozenset[str], ApiClient] = {}

    def with_scopes(self, scopes: frozenset[str]) -> ApiClient:
        """A client of `own`'s ledger with exactly these fine scopes."""
        if scopes not in self._clients:
            self._clients[scopes] = ApiClient(self.application, make_key(self.database_url, self._name, *sorted(scopes)))
        return self._clients[scopes]

    def tempt(self, client: ApiClient) -> None:
        """Make what TEMPTING finds in that client's ledger, once."""
        if client.get(f"/api/users?email={TEMPTING['email']}").json["data"]:
            return
        client.user(name="tempting", email=TEMPTING["email"])
        client.transfer(_account(client), _account(client), 5, reference=TEMPTING["reference"])
        client.account(metadata={"note": "tempting"})


def variables(route: Route) -> list[str]:
    """The names of the variables in a route's path."""
    return [part[1:-1] for part in route.path.split("/") if part.startswith("<")]


def made(name: str, client: ApiClient) -> str:
    """A new thing of the client's ledger for the variable `name`."""
    return str(_factory(name)[0](client))


def missing(name: str) -> str:
    """An id that nothing has."""
    return _factory(name)[1]


def _factory(name: str) -> tuple[Callable[[ApiClient], Any], str]:
    assert name in FACTORIES, f"say in FACTORIES of tests/attacks/world.py how to make what <{name}> names"
    return FACTORIES[name]


def body_for(schema: Schema | Media | None, client: ApiClient) -> dict[str, Any] | None:
    """A body that the route accepts, None where it takes none; of a file of lines, one of them."""
    if schema is None:
        return None
    if isinstance(schema, Media):
        return BODIES["TransferInput"](client)
    name = type(schema).__name__
    assert name in BODIES, f"say in BODIES of tests/attacks/world.py what a good {name} is"
    return BODIES[name](client)


def id_fields(schema: Schema | Media | None) -> dict[str, str]:
    """The members of a body that are ids, each with the variable that names the same kind of thing."""
    fields = schema.load_fields if isinstance(schema, Schema) else ()
    names = [name for name in fields if name.endswith("_id")]
    return {name: name.removeprefix("from_").removeprefix("to_") for name in names}


def send(
    client: ApiClient, route: Route, ids: Mapping[str, str], body: Mapping[str, Any] | None,
    query: Mapping[str, str] | None = None,
) -> Reply:
    """Call the route, with parameters that it requires."""
    path = route.path
    for name, value in ids.items():
        path = path.replace(f"<{name}>", value)
    asked = {p.name: REQUIRED[p.name]() for p in route.query if p.required} | dict(query or {})
    if any(p.name == "follow" for p in route.query):
        asked = STREAMED | asked
    if asked:
        path += "?" + "&".join(f"{name}={value}" for name, value in asked.items())
    if isinstance(route.body, Media):
        return client.call(route.method, path, body, Content_Type=route.body.types[0])
    if 101 in route.answers:
        return client.call(route.method, path, body, take_over=Gone, **UPGRADE)
    return client.call(route.method, path, body)


class Gone:
    """The line of a client that left when its connection was upgraded."""

    def receive(self) -> bytes:
        return b""

    def sendall(self, data: bytes) -> None:
        raise BrokenPipeError

    def end_input(self) -> None:
        return None


def listed(reply: Reply) -> list[Any]:
    """What a list has, be it a page in JSON, a stream of events or an export of lines."""
    if reply.headers["Content-Type"] == "application/json":
        found: list[Any] = reply.json["data"]
        return found
    if reply.headers["Content-Type"] == "text/event-stream":
        return [line for line in reply.body.splitlines() if line.startswith(b"data:")]
    return reply.body.splitlines()


def all_but(scope: str) -> frozenset[str]:
    """Every fine scope that a key can be given, without that one."""
    return frozenset(FINE) - {scope}
