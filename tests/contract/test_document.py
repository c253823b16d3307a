"""The document: valid, complete, and the same as the routes, the taxonomy and docs/api.md say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from service.api import openapi
from service.api.openapi_errors import codes_of
from service.api.openapi_operation import operation_id, path_of, tag_of
from service.api.problem import STATUS
from service.api.routes import Media, Route
from service.errors import taxonomy
from service.ledger.scopes import BUNDLES
from tests.contract.document import ROUTES, contract, the_document

API_MD = Path(__file__).resolve().parents[2] / "docs" / "api.md"
METHOD_AND_PATH = re.compile(r"(GET|POST|PUT|PATCH|DELETE) `([^`]+)`")
SHOWN = [route for route in ROUTES if not route.path.startswith("/docs/")]  # the files of the page need no words
NOT_OF_A_ROUTE = {"method_not_allowed", "client_closed_request"}  # a method that there is not; a client that there is not


def name_of(route: Route) -> str:
    """For a test's name and message."""
    return f"{route.method} {route.path}"


def plain(path: str) -> str:
    """A path without the names of its variables, which are shorter in docs/api.md."""
    return re.sub("{[a-z_]+}", "{}", path)


def used_schemas() -> list[tuple[str, Any]]:
    """Each schema that a route takes or answers, with a place that uses it."""
    used = {
        type(schema): name_of(route)
        for route in ROUTES for schema in (route.body, *route.answers.values())
        if schema is not None and not isinstance(schema, Media)
    }
    return [(where, schema) for schema, where in used.items()]


def test_it_is_valid_openapi() -> None:
    """By the OpenAPI Initiative's own schema of version 3.1."""
    assert the_document()["openapi"].startswith("3.1.")
    validate(the_document())


def test_it_has_every_route_and_no_other() -> None:
    """Method and path, both ways."""
    documented = {(method.upper(), path) for path, methods in the_document()["paths"].items() for method in methods}
    assert documented == {(route.method, path_of(route)) for route in ROUTES}


def test_operations_have_names_of_their_own() -> None:
    """Generated clients call them so."""
    names = [operation_id(route) for route in ROUTES]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"{twice} name two routes each: give one of them an `operation`"


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_every_route_is_in_a_group_that_is_described(route: Route) -> None:
    """A new group needs a line in TAGS of service/api/openapi.py."""
    assert tag_of(route) in openapi.TAGS, f"{name_of(route)}: describe the tag {tag_of(route)!r} in service/api/openapi.py"


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_route_tells_who_may_call_it(route: Route) -> None:
    """Its scope is one that keys can have, and stands in the document; without a scope there is neither 401 nor 403."""
    described = the_document()["paths"][path_of(route)][route.method.lower()]
    assert described["security"] == ([{"apiKey": sorted(route.scopes)}] if route.scopes else [])
    assert route.scopes <= frozenset().union(*BUNDLES.values())
    assert ({"401", "403"} <= described["responses"].keys()) is (route.scope is not None)
    assert route.scope is not None or not {"401", "403"} & described["responses"].keys()


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_a_routes_errors_are_of_the_taxonomy(route: Route) -> None:
    """And of the status table, each once."""
    assert set(route.errors) <= set(STATUS), f"{name_of(route)} names errors that there are not"
    assert len(codes_of(route)) == len(set(codes_of(route)))


def test_every_error_is_documented_somewhere() -> None:
    """What no route answers needs no code; and the document knows no other."""
    answered = {code for route in ROUTES for code in codes_of(route)}
    missing = set(taxonomy()) - answered - NOT_OF_A_ROUTE
    assert not missing, f"no route documents {missing}: name them in its `errors`, or in service/api/openapi_errors.py"
    told = the_document()["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert set(told) == set(STATUS) - {"client_closed_request"}


@pytest.mark.parametrize(("where", "schema"), used_schemas(), ids=lambda value: getattr(value, "__name__", value))
def test_every_body_and_answer_has_an_example(where: str, schema: Any) -> None:
    """It stands beside the fields and is what they accept, no member more."""
    assert hasattr(schema, "example"), f"{where}: give {schema.__module__}.{schema.__name__} an `example`"
    assert schema.__doc__, f"{where}: give {schema.__name__} a docstring, which is its description"
    assert schema().validate(schema.example) == {}
    wrong = contract().accepts(f"/components/schemas/{schema.__name__.removesuffix('Answer')}", schema.example)
    assert not wrong, f"the example of {schema.__name__}: {wrong}"


def test_links_lead_from_what_was_made_to_what_can_be_done_with_it() -> None:
    """Each takes the `id` of the answer, which has one, to an operation that has such a parameter."""
    by_name = {operation_id(route): route for route in ROUTES}
    links = [
        (route, by_name[link["operationId"]], parameter, source)
        for route in ROUTES if 201 in route.answers
        for made in [the_document()["paths"][path_of(route)][route.method.lower()]["responses"]["201"]]
        for link in made.get("links", {}).values()
        for parameter, source in link["parameters"].items()
    ]
    assert ("users.create", "users.find") in {(operation_id(here), operation_id(there)) for here, there, _, _ in links}
    for here, there, parameter, source in links:
        assert source == "$response.body#/id"
        assert "id" in here.answers[201].fields, f"{name_of(here)} answers no id to take to {name_of(there)}"
        assert f"<{parameter}>" in there.path or parameter in {asked.name for asked in there.query}


def test_the_examples_of_errors_are_valid() -> None:
    """Each by the schema of its response."""
    found = 0
    for pointer, node in walk(the_document()):
        if "examples" in node and isinstance(node["examples"], dict) and "schema" in node:
            for example in node["examples"].values():
                wrong = contract().accepts(f"{pointer}/schema", example["value"])
                assert not wrong, f"{pointer}: {wrong}"
                found += 1
    assert found >= len(STATUS) - len(NOT_OF_A_ROUTE)


def test_the_docs_have_a_section_for_each_route() -> None:
    """A heading of docs/api.md names it, and none names another."""
    headings = re.findall(r"^#+ .*$", API_MD.read_text(), re.MULTILINE)
    told = {(method, plain(path)) for heading in headings for method, path in METHOD_AND_PATH.findall(heading)}
    assert told == {(route.method, plain(path_of(route))) for route in SHOWN}


def test_the_docs_have_the_same_table_of_routes() -> None:
    """The table in docs/api.md has each route with its scope and the statuses of its successes."""
    row = r"^\| \[(\w+) `([^`]+)`\]\(#[a-z_-]+\) \| `?([a-z:]+)`? \| (.*) \|$"
    rows = re.findall(row, API_MD.read_text(), re.MULTILINE)
    told = {(method, plain(path)): (scope, re.findall(r"\d{3}", answer)) for method, path, scope, answer in rows}
    assert told.keys() == {(route.method, plain(path_of(route))) for route in SHOWN}
    for route in SHOWN:
        scope, statuses = told[route.method, plain(path_of(route))]
        kinds = {one.partition(":")[2] for one in route.scopes} or {"none"}
        assert scope in {route.scope, *kinds}, name_of(route)
        assert {str(status) for status in route.answers} - {"304"} <= set(statuses), name_of(route)


def test_the_docs_name_the_same_errors() -> None:
    """The table of codes in docs/api.md has the statuses of the one table."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", API_MD.read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {
        code: status for code, status in STATUS.items() if code != "client_closed_request"
    }


def test_it_holds_nothing_of_this_machine() -> None:
    """It is the same wherever it is made: the server is the one that was asked."""
    assert the_document()["servers"] == [{"url": "/"}]
    text = json.dumps(the_document())
    assert set(re.findall(r"(?:https?|service)://([a-z0-9.:]+)", text)) <= {"shop.example.com"}


def walk(node: Any, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a document with its place."""
    if isinstance(node, dict):
        yield pointer, node
        for name, inner in node.items():
            yield from walk(inner, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(node, list):
        for place, inner in enumerate(node):
            yield from walk(inner, f"{pointer}/{place}")
