"""The document as a judge: is an answer one that it names, for this method, path and status?"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from functools import cache
from typing import Any
from urllib.parse import quote

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from service.api.openapi import document
from service.api.problem import STATUS
from service.app import Application
from service.config import Config
from tests.reply import Reply

_URI = "urn:ledgerd:openapi"
_OF_THE_SERVER = {"content-type", "content-length", "date", "server", "connection", "vary"}


ROUTES = Application(Config(database_url="postgresql://")).routes  # it is never opened, so there need be no database


@cache
def the_document() -> dict[str, Any]:
    """The document of the application."""
    return document(ROUTES)


@cache
def contract() -> Contract:
    """What the application promises."""
    return Contract(the_document())


class Contract:
    """Checks answers against a document. Answers may gain members in a later version, but not in this one unseen."""

    def __init__(self, openapi: dict[str, Any]) -> None:
        self._document = _closed(openapi)
        self._registry = Registry().with_resource(_URI, DRAFT202012.create_resource(self._document))
        self._validators: dict[str, Draft202012Validator] = {}
        self._paths = [  # those without variables first, as OpenAPI matches them
            (re.compile(re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(template))), template)
            for template in sorted(openapi["paths"], key=lambda template: "{" in template)
        ]

    def check(self, method: str, path: str, reply: Reply) -> None:
        """Raise AssertionError for an answer that the document does not name; HEAD is answered as GET without its body."""
        where = f"{method} {path} answered {reply.status}"
        target = path.partition("?")[0]
        template = next((template for pattern, template in self._paths if pattern.fullmatch(target)), None)
        operations = self._document["paths"].get(template, {})
        operation = "get" if method == "HEAD" else method.lower()
        if method == "OPTIONS" and "Access-Control-Allow-Methods" in reply.headers:
            return  # a preflight, which is the browser's affair with the middleware
        if operation not in operations:
            self._check_error_of_the_whole(where, {name.upper() for name in operations}, reply)
            return
        pointer = f"/paths/{_escaped(template or '')}/{operation}/responses/{reply.status}"
        assert str(reply.status) in operations[operation]["responses"], f"{where}, which is not documented"
        response = operations[operation]["responses"][str(reply.status)]
        if "$ref" in response:
            pointer = response["$ref"].removeprefix("#")
            response = self._document["components"]["responses"][pointer.rpartition("/")[2]]
        self._check_headers(where, pointer, response, reply)
        self._check_body(where, pointer, response, reply, sent=method != "HEAD")

    def accepts(self, pointer: str, value: Any) -> str:
        """What is wrong with `value` by the schema at `pointer`, or nothing."""
        if pointer not in self._validators:
            reference = {"$ref": f"{_URI}#{quote(pointer, safe='/~')}"}
            self._validators[pointer] = Draft202012Validator(
                reference, registry=self._registry, format_checker=Draft202012Validator.FORMAT_CHECKER
            )
        error = best_match(self._validators[pointer].iter_errors(value))
        return "" if error is None else f"{error.json_path}: {error.message}"

    def _check_error_of_the_whole(self, where: str, methods: set[str], reply: Reply) -> None:
        """No such operation: an error that the whole application answers, as the document's description says."""
        assert 400 <= reply.status < 500, f"{where}, where there is no operation"
        if reply.status == 405:
            assert set(reply.headers["Allow"].split(", ")) - {"HEAD"} == methods, f"{where} with another Allow"
        if reply.body:
            wrong = self.accepts("/components/schemas/Problem", reply.json)
            assert not wrong, f"{where}: {wrong}"
            assert STATUS[reply.json["code"]] == reply.status, f"{where} with the code of another status"

    def _check_headers(self, where: str, pointer: str, response: dict[str, Any], reply: Reply) -> None:
        given = {name.lower(): value for name, value in reply.headers.items()}
        for name, header in response["headers"].items():
            at = f"{pointer}/headers/{name}"
            if "$ref" in header:
                at = header["$ref"].removeprefix("#")
                header = self._document["components"]["headers"][name]  # noqa: PLW2901
            text = given.pop(name.lower(), None)
            assert text is not None or not header["required"], f"{where} without {name}"
            if text is not None:
                value = int(text) if header["schema"].get("type") == "integer" else text
                wrong = self.accepts(f"{at}/schema", value)
                assert not wrong, f"{where} with {name}: {wrong}"
        unknown = {name for name in given if name not in _OF_THE_SERVER and not name.startswith("access-control-")}
        assert not unknown, f"{where} with headers that are not documented: {unknown}"

    def _check_body(self, where: str, pointer: str, response: dict[str, Any], reply: Reply, *, sent: bool) -> None:
        if "content" not in response:
            assert not reply.body, f"{where} with a body"
            return
        media_type = reply.headers["Content-Type"].partition(";")[0]
        named = {name.partition(";")[0] for name in response["content"]}
        assert media_type in named, f"{where} as {media_type}"
        if not sent:
            assert not reply.body, f"{where} with a body"
        elif media_type in ("application/json", "application/problem+json"):
            wrong = self.accepts(f"{pointer}/content/{_escaped(media_type)}/schema", json.loads(reply.body))
            assert not wrong, f"{where}: {wrong}"


def _closed(openapi: dict[str, Any]) -> dict[str, Any]:
    """The document with no room for members that it does not name."""
    closed = deepcopy(openapi)
    for schema in closed["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return closed


def _escaped(name: str) -> str:
    """As one step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
