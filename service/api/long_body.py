"""Reading a JSON object of many elements by the slice, strictly as `body` reads, so that nobody waits for a megabyte of it."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from service.api.body import STRICT, distinct, telling_what_is_wrong
from service.concurrency.primitives import give_way
from service.errors import FieldError, InvalidInput, MalformedRequest

SLICE = 25  # elements; what is done with them holds the processor for a fifth of a millisecond

_space = re.compile(r"[ \t\n\r]*").match
_scan = STRICT.scan_once  # type: ignore[attr-defined]  # what raw_decode calls; documented in its source alone
_NO_NAME = "Expecting property name enclosed in double quotes"


def read_long(raw: bytes, name: str, most: int) -> dict[str, Any]:
    """The JSON object that `raw` is. Where its member `name` is an array, its elements are read by the slice.

    Raises MalformedRequest for what is not one JSON object, InvalidInput for a member given twice, and for an array of more
    than `most` elements, which is then not read to its end.
    """
    with telling_what_is_wrong():
        return _Reader(raw.decode("utf-8"), name, most).read()


class _Reader:
    """A text, and how far it is read. What is wrong is told in the words of json."""

    def __init__(self, text: str, name: str, most: int) -> None:
        self._text = text
        self._name = name
        self._most = most
        self._at = 0

    def read(self) -> dict[str, Any]:
        if self._next() != "{":
            self._value()
            self._end()
            raise MalformedRequest("The body is not a JSON object.")
        self._at += 1
        pairs = []
        while self._next() != "}":
            if self._next() != '"':
                self._refuse(_NO_NAME)
            name = self._value()
            if self._next() != ":":
                self._refuse("Expecting ':' delimiter")
            self._at += 1
            pairs.append((name, self._elements() if name == self._name and self._next() == "[" else self._value()))
            if self._next() == ",":
                self._at += 1
                if self._next() == "}":
                    self._refuse(_NO_NAME)
            elif self._next() != "}":
                self._refuse("Expecting ',' delimiter")
        self._at += 1
        self._end()
        return distinct(pairs)

    def _elements(self) -> list[Any]:
        self._at += 1
        if self._next() == "]":
            self._at += 1
            return []
        elements: list[Any] = []
        goes_on = True
        while goes_on:
            goes_on = self._add_slice(elements)
            if len(elements) > self._most:
                message = f"expected an array of 1 to {self._most} values"
                raise InvalidInput("Some fields are not acceptable.", fields=(FieldError(self._name, message),))
            give_way()
        return elements

    def _add_slice(self, elements: list[Any]) -> bool:
        """Read some more elements; False at the end of the array. The plain case costs no call but that of the scanner."""
        text, at = self._text, self._at
        try:
            for _ in range(SLICE):
                value, at = _scan(text, at)
                elements.append(value)
                if text[at] != ",":
                    self._at = at
                    if self._next() == "]":
                        self._at += 1
                        return False
                    if self._next() != ",":
                        self._refuse("Expecting ',' delimiter")
                    at = self._at
                at += 1
                if text[at] <= " ":
                    self._at = at
                    self._next()
                    at = self._at
        except StopIteration as exc:
            raise json.JSONDecodeError("Expecting value", text, exc.value) from None
        except IndexError:
            raise json.JSONDecodeError("Expecting ',' delimiter", text, len(text)) from None
        self._at = at
        return True

    def _value(self) -> Any:
        self._next()
        value, self._at = STRICT.raw_decode(self._text, self._at)
        return value

    def _next(self) -> str:
        """The next character that is no white space, or nothing at the end."""
        match = _space(self._text, self._at)
        assert match is not None, "it matches nothing as well"
        self._at = match.end()
        return self._text[self._at : self._at + 1]

    def _end(self) -> None:
        if self._next():
            self._refuse("Extra data")

    def _refuse(self, message: str) -> NoReturn:
        raise json.JSONDecodeError(message, self._text, self._at)
