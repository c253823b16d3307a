"""What there is: each route once, with the scope that it takes, its handler, and what it reads and answers.

Flask's routing, the check of scopes, the paths that are open to everybody and the OpenAPI document are all made from these,
so none of them can forget a route.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from wsgiref.types import WSGIEnvironment

from marshmallow import Schema

from service.api.calls import Answer, Call, read_query
from service.api.positions import BROUGHT, brought
from service.errors import FieldError, Forbidden, InvalidInput
from service.middleware.body_limit import MEBIBYTE
from service.middleware.environ import CONTEXT, PRINCIPAL, ROUTE


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, or a header of the request: its name, its meaning, and its JSON schema."""

    name: str
    meaning: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False

    def openapi(self) -> dict[str, Any]:
        """As the OpenAPI document has it, but for its name and place."""
        return {"description": self.meaning, "schema": self.schema}


@dataclass(frozen=True, slots=True)
class Header:
    """A header of the answer: what it means, its JSON schema; `only` names the one success that has it, if not all have it."""

    meaning: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    only: int | None = None
    always: bool = True

    def openapi(self) -> dict[str, Any]:
        """As the OpenAPI document has it, but for its name."""
        return {"description": self.meaning, "required": self.always, "schema": self.schema}

    def where_there_is_one(self) -> Header:
        """The same, on an answer that may be without it."""
        return replace(self, always=False)


@dataclass(frozen=True, slots=True)
class Media:
    """A body that is no resource but a file or a text: the media types that it may have, and its JSON schema."""

    types: tuple[str, ...]
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path.

    `path` names its variables as Flask does: `/api/users/<user_id>`. `scope` is what the key must hold, several with spaces
    between them; None opens the route to those without a key. `body` is the schema of the request's JSON, or another form;
    at most `most_body` bytes of it are read, None: any number, which the handler reads as they come. `answers` has a schema
    for each status that is a success, None where there is no body. `errors` are the codes of the taxonomy that this route
    answers besides those that any may. `variables` describe those of the path that are no ids. `operation` is its name in
    generated clients, if not the handler's.
    """

    method: str
    path: str
    handler: Callable[..., Answer]
    scope: str | None
    summary: str
    answers: Mapping[int, Schema | Media | None]
    body: Schema | Media | None = None
    most_body: int | None = MEBIBYTE
    variables: tuple[Parameter, ...] = ()
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    answer_headers: Mapping[str, Header] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    operation: str = ""
    scopes: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scopes", frozenset((self.scope or "").split()))

    def answer(self, environ: WSGIEnvironment, **variables: str) -> Answer:
        """Check that this call may come here, then let the handler answer.

        Raises Forbidden when its key lacks the scope, InvalidInput for a query where the route takes none and for a
        Ledger-Position of a read that no write has told, and what the handler raises.
        """
        environ[ROUTE] = self.path
        if self.scopes:
            check_scopes(self.scopes, environ[PRINCIPAL].scopes)
        if environ.get("QUERY_STRING") and not self.query:
            problems = tuple(FieldError(name, "there is no such parameter here") for name in read_query(environ))
            raise InvalidInput("This path takes no parameters.", fields=problems)
        if BROUGHT in environ and self.method == "GET" and self.scopes:  # HEAD comes to the same route
            with brought(environ) as environ[CONTEXT]:
                return self.handler(Call(environ), **variables)
        return self.handler(Call(environ), **variables)


def check_scopes(needed: frozenset[str], held: frozenset[str]) -> None:
    """Raise Forbidden, which names what is missing, for a key that does not hold all that is needed."""
    if not needed <= held:
        raise Forbidden(f"This API key lacks the scope {', '.join(map(repr, sorted(needed - held)))}.")


def body_limits(routes: Iterable[Route]) -> dict[str, int | None]:
    """The paths whose bodies have another limit than the usual one, with that limit in bytes."""
    return {route.path: route.most_body for route in routes if route.most_body != MEBIBYTE}


def public_paths(routes: Iterable[Route]) -> frozenset[str]:
    """The paths that need no key."""
    return frozenset(route.path for route in routes if route.scope is None)
