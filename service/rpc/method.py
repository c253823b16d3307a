"""A method as a translation of a route: where each field of its message goes in the route's call, and its answer back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlencode
from wsgiref.types import StartResponse, WSGIEnvironment

from google.protobuf.message import Message

from service.api.calls import STATUS_LINES, to_json
from service.api.routes import Route, check_scopes
from service.errors import FieldError, InvalidInput
from service.middleware.environ import PRINCIPAL
from service.rpc.environ import read_message
from service.rpc.translation import fill, parse, to_values

_VARIABLE = re.compile(r"<(\w+)>")
_QUERY_NAMES = {"since": "from", "until": "to"}  # `from` is a word of too many languages to be a field


class Method:
    """The behaviour of a unary method.

    The message's field `id`, or the one of the same name, is the variable of the route's path; fields that are parameters of
    its query go there, and all others are its body. `rows` is the field that has the `data` of a page.
    """

    def __init__(self, route: Route, request: type[Message], answer: type[Message], *, rows: str = "") -> None:
        self.route = route
        self.request, self.answer = request, answer
        self._rows = rows
        self._variable = found[1] if (found := _VARIABLE.search(route.path)) else None
        self._query = {parameter.name for parameter in route.query}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a call. Raises what the route's handler raises, and InvalidInput or MalformedRequest for messages."""
        check_scopes(self.route.scopes, environ[PRINCIPAL].scopes)  # first: whoever may not come here need not be told more
        values = to_values(parse(self.request, read_message(environ)))
        variables = self._take_variable(values)
        answer = self.route.answer(self._inner(environ, values), **variables)
        assert isinstance(answer.body, bytes), "a route that streams is no unary method"
        start_response(STATUS_LINES[answer.status], list(answer.headers))
        message = self.answer()
        if answer.body:
            content = json.loads(answer.body)
            fill(message, {self._rows: content.pop("data"), **content} if self._rows else content)
        return [message.SerializeToString()]

    def _take_variable(self, values: dict[str, Any]) -> dict[str, str]:
        if self._variable is None:
            return {}
        name = self._variable if self._variable in self.request.DESCRIPTOR.fields_by_name else "id"
        if name not in values:
            message = "Missing data for required field."
            raise InvalidInput("Some fields are not acceptable.", fields=(FieldError(name, message),))
        return {self._variable: str(values.pop(name))}

    def _inner(self, environ: WSGIEnvironment, values: Mapping[str, Any]) -> WSGIEnvironment:
        """The environment of the route's own call."""
        query: dict[str, str] = {}
        body: dict[str, Any] = {}
        for name, value in values.items():
            parameter = _QUERY_NAMES.get(name, name)
            if parameter in self._query:
                query[parameter] = ("false", "true")[value] if isinstance(value, bool) else str(value)
            else:
                body[name] = value
        inner = {**environ, "REQUEST_METHOD": self.route.method, "QUERY_STRING": urlencode(query)}
        if self.route.body is not None:
            raw = to_json(body)
            inner |= {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(raw)), "wsgi.input": BytesIO(raw)}
        return inner

