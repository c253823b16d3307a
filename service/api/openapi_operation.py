"""One route as an operation of the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

from marshmallow import Schema

from service.api.openapi_errors import error_responses
from service.api.parameters import ANSWERED, ASKED, COUNTED, ID, LEDGER_POSITION
from service.api.routes import Media, Parameter, Route

_GROUPS = {"healthz": "probes", "readyz": "probes", "metrics": "probes", "openapi.json": "document", "docs": "document"}
_VARIABLE = re.compile("<([a-z_]+)>")


def path_of(route: Route) -> str:
    """Its path with variables as OpenAPI writes them: `/api/users/{user_id}`."""
    return _VARIABLE.sub(r"{\1}", route.path)


def tag_of(route: Route) -> str:
    """The group that it is shown in."""
    first = route.path.removeprefix("/api").split("/")[1]
    return _GROUPS.get(first, first)


def operation_id(route: Route) -> str:
    """What generated clients call it, such as `users.create`."""
    return f"{tag_of(route)}.{route.operation or route.handler.__name__}"


def operation(route: Route, routes: Iterable[Route]) -> dict[str, Any]:
    """The operation; `routes` are all there are, for its links."""
    scopes = sorted(route.scopes)
    access = f"Takes a key with {' and '.join(f'`{scope}`' for scope in scopes)}." if scopes else "Open to everybody."
    described = {
        "tags": [tag_of(route)],
        "operationId": operation_id(route),
        "summary": route.summary.partition(";")[0],
        "description": f"{route.summary}.\n\n{access}",
        "security": [{"apiKey": scopes}] if scopes else [],
        "parameters": [*_parameters(route), *(asked.name for asked in ASKED)],
        "responses": dict([*_successes(route, dict(_links(route, routes))), *error_responses(route)]),
    }
    if route.body is not None:
        described["requestBody"] = {"required": True, "content": _content(route.body)}
    return described


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    own = {variable.name: variable for variable in route.variables}
    for name in _VARIABLE.findall(route.path):
        yield {"name": name, "in": "path", **(own.get(name) or Parameter(name, "its id", ID)).openapi()}
    for query in route.query:
        yield {"name": query.name, "in": "query", "required": query.required, **query.openapi()}
    positions = (LEDGER_POSITION,) if route.scopes and route.method == "GET" else ()
    for asked in (*route.headers, *positions):
        yield {"name": asked.name, "in": "header", **asked.openapi()}


def _successes(route: Route, links: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    shared = (*ANSWERED, *COUNTED) if route.scopes else ANSWERED
    for status, body in route.answers.items():
        headers = {name: of.openapi() for name, of in route.answer_headers.items() if of.only in (None, status)}
        response = {"description": HTTPStatus(status).phrase, "headers": {**{name: name for name in shared}, **headers}}
        if body is not None:
            response["content"] = _content(body)
        if status == HTTPStatus.CREATED:
            response["links"] = links
        yield status, response


def _content(body: Schema | Media) -> dict[str, Any]:
    if isinstance(body, Media):
        return {media_type: {"schema": body.schema} for media_type in body.types}
    return {"application/json": {"schema": body}}


def _links(route: Route, routes: Iterable[Route]) -> Iterator[tuple[str, dict[str, Any]]]:
    """From what a POST made to what can be done with it: by its id in a path below, or in a query."""
    below = re.compile(re.escape(route.path) + "/<([a-z_]+)>")
    found = [(other, match[1]) for other in routes if (match := below.match(other.path))]
    names = {name for _, name in found}
    found += [(other, asked.name) for other in routes for asked in other.query if asked.name in names]
    for other, name in found:
        yield operation_id(other), {"operationId": operation_id(other), "parameters": {name: "$response.body#/id"}}
