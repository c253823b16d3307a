"""The contract as an OpenAPI 3.1 document, made from the routes and their schemas, so that it cannot say anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from service import __version__
from service.api.answers import Problem
from service.api.fields import metadata_schemas
from service.api.openapi_errors import problem_response
from service.api.openapi_operation import operation, path_of
from service.api.parameters import ANSWERED, ASKED, COUNTED
from service.api.problem import STATUS
from service.api.routes import Route

TAGS = {
    "users": "Persons and firms that accounts may belong to.",
    "accounts": "A balance in one asset each, with a floor and a ceiling.",
    "transfers": "Amounts that were moved, held or given back, a row of the log each: never changed, never removed.",
    "events": "What happens in a ledger, as it happens, and since any moment of its past.",
    "search": "What fits a few words, whatever it is.",
    "webhooks": "Who is told of the ledger's events, and what could not be delivered.",
    "services": "Where the instances of services are: they register themselves, and stay while they renew their lease.",
    "audit": "Seals over the log: what proves later that nothing in it was changed.",
    "ledgers": "The tenants; for operators.",
    "keys": "Who may do what in a ledger, how often, and until when.",
    "probes": "What the machine around asks; no key is needed.",
    "document": "This document, and a page to read it on; no key is needed.",
}
_RULES = """\
A ledger of users, accounts and transfers. docs/api.md of the release has the rules in full; the most important:

- Amounts and balances are whole numbers of **minor units**: in `USD/2`, 1250 is 12.50. There are no fractions anywhere.
- A key belongs to one ledger, so no request names one, and what another ledger has is not found.
- Send an `Idempotency-Key` with every transfer: it makes the transfer safe to repeat, for ever.
- Errors are `application/problem+json`. `code` is what programs test; `errors` names the parts of the request to blame.
- Unknown members and parameters are refused. Answers may gain members: pass over those that you do not know.
- A path that is not here answers 404, and a method that is not here 405 with `Allow`; without a valid key both are 401.
  HEAD works wherever GET does.
"""


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document. Schemas that are used have an `example`, and their names without `Answer`."""
    schemas: dict[str, type[Schema]] = {}

    def name(schema: Schema | type[Schema]) -> str:
        of = schema if isinstance(schema, type) else type(schema)
        schemas[of.__name__.removesuffix("Answer")] = of
        return of.__name__.removesuffix("Answer")

    spec = APISpec(
        "ledgerd", __version__, "3.1.1", [MarshmallowPlugin(schema_name_resolver=name)], servers=[{"url": "/"}],
        info={"description": _RULES, "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"}},
        tags=[{"name": tag, "description": text} for tag, text in TAGS.items()],
    )
    spec.components.security_scheme("apiKey", {
        "type": "http", "scheme": "bearer", "bearerFormat": "ldg_<id>_<secret>",
        "description": "An API key, as `ledgerd key create` makes it. An operation names the scope that the key must hold.",
    })
    for schema_name, schema in metadata_schemas().items():
        spec.components.schema(schema_name, schema)
    spec.components.schema("Problem", schema=Problem)
    for asked in ASKED:
        spec.components.parameter(asked.name, "header", asked.openapi())
    for header_name, answered in (ANSWERED | COUNTED).items():
        spec.components.header(header_name, answered.openapi())
    for code in STATUS:
        spec.components.response(code, problem_response(code), lazy=True)  # those that no route names are left out
    for route in routes:
        spec.path(path_of(route), operations={route.method.lower(): operation(route, routes)})
    made = spec.to_dict()
    for schema_name, of in schemas.items():
        made["components"]["schemas"][schema_name] |= _beside_the_fields(of)
    return {part: made[part] for part in ("openapi", "info", "servers", "tags", "paths", "components")}


def _beside_the_fields(schema: type[Schema]) -> dict[str, Any]:
    """What a schema says of itself as a whole: its meaning, an example, and what its fields cannot."""
    meaning = " ".join((schema.__doc__ or "").split())
    return {"description": meaning, "examples": [schema.example], **getattr(schema, "json_schema", {})}  # type: ignore[attr-defined]
