"""The two forms that transfers are imported from: a JSON object a line, or comma-separated values. Export writes both."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

from service.api.body import STRICT, telling_what_is_wrong
from service.api.export import COLUMNS
from service.api.lines import Fault, Line, join_quoted, split_lines
from service.api.schemas import BulkItem
from service.errors import FieldError, InvalidInput, MalformedRequest

WHOLE_NUMBERS = ("from_account_id", "to_account_id", "amount", "if_from_version", "expires_in_s")
ACCEPTED = tuple(BulkItem().load_fields)
PASSED_OVER = frozenset(COLUMNS) - frozenset(ACCEPTED)  # what an export has beside them: how it once went
REQUIRED = ("from_account_id", "to_account_id", "amount")

_KNOWN = frozenset(ACCEPTED)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_FLAGS = {"true": True, "false": False}
_decode = STRICT.decode


class Form(Protocol):
    """How lines become transfers; one object for each import. `digested` is what else of the file their meaning depends on."""

    digested: bytes

    def lines(self, pieces: Iterable[bytes]) -> Iterator[Line]:
        """The lines that are to be transfers. Raises InvalidInput for a file that cannot be read as a whole."""
        ...

    def read(self, text: bytes) -> dict[str, Any]:
        """A line as what POST /api/transfers takes. Raises MalformedRequest or InvalidInput."""
        ...


class Ndjson:
    """A JSON object a line."""

    digested = b"ndjson"

    def lines(self, pieces: Iterable[bytes]) -> Iterator[Line]:
        """See Form."""
        return split_lines(pieces)

    def read(self, text: bytes) -> dict[str, Any]:
        """See Form."""
        with telling_what_is_wrong("line"):
            value = _decode(text.decode("utf-8"))
        if not isinstance(value, dict):
            raise MalformedRequest("The line is not a JSON object.")
        return value if value.keys() <= _KNOWN else _of_an_export(value)


class Csv:
    """Comma-separated values (RFC 4180), with names in the first line; what is empty is not given."""

    def __init__(self) -> None:
        self.digested = b"csv"
        self._names: Sequence[str] = ()

    def lines(self, pieces: Iterable[bytes]) -> Iterator[Line]:
        """See Form."""
        source = iter(pieces)
        first = next(source, b"")
        records = join_quoted(split_lines(chain((first,), source)))
        _, header = next(records, (1, Fault("There is no line of names.")))
        if isinstance(header, Fault):
            raise _wrong_header(header, first)
        self._take_names(header, first)
        yield from records

    def read(self, text: bytes) -> dict[str, Any]:
        """See Form."""
        values = _split(text)
        if len(values) != len(self._names):
            raise MalformedRequest(f"The line has {len(values)} values; the first line has {len(self._names)} names.")
        pairs = zip(self._names, values, strict=True)
        given = _of_an_export({name: value for name, value in pairs if value})
        for name in WHOLE_NUMBERS:
            if name in given and _WHOLE_NUMBER.fullmatch(given[name]):
                given[name] = int(given[name])
        if given.get("hold") in _FLAGS:
            given["hold"] = _FLAGS[given["hold"]]
        if "metadata" in given:
            with telling_what_is_wrong("metadata of the line"):
                given["metadata"] = _decode(given["metadata"])
        return given

    def _take_names(self, header: bytes, first: bytes) -> None:
        try:
            names = _split(header)
        except MalformedRequest as error:
            raise _wrong_header(error.message, first) from error
        problems = [f"There is no column {name[:100]!r}." for name in names if name not in _KNOWN | PASSED_OVER]
        problems += [f"The column {name!r} is there more than once." for name in dict.fromkeys(names) if names.count(name) > 1]
        problems += [f"The column {name!r} is missing." for name in REQUIRED if name not in names]
        if problems:
            raise _wrong_header(" ".join(problems[:5]), first)
        self._names = names
        self.digested = b"csv\n" + ",".join(names).encode()


FORMS: dict[str, Callable[[], Form]] = {"ndjson": Ndjson, "csv": Csv}


def _of_an_export(value: dict[str, Any]) -> dict[str, Any]:
    """What of it is asked for. Raises InvalidInput for a row of the log that is no transfer: it would become one."""
    if value.get("kind", "transfer") != "transfer":
        message = "only transfers can be imported"
        raise InvalidInput(f"kind: {message}.", fields=(FieldError("kind", message),))
    return {name: inner for name, inner in value.items() if name not in PASSED_OVER}


def _split(text: bytes) -> list[str]:
    with telling_what_is_wrong("line"):
        line = text.decode("utf-8")
    try:
        (values,) = csv.reader([line], strict=True)
    except (csv.Error, ValueError) as exc:
        raise MalformedRequest("The line is not CSV as RFC 4180 has it: a quote stands where none can.") from exc
    return values


def _wrong_header(message: str, first: bytes) -> InvalidInput:
    """`first` is where the file begins: it may show that another program's form is to blame."""
    line = first.partition(b"\n")[0]
    if b"\r" in line and b"\n" not in first:
        message = "Lines end with LF or CRLF, not with CR alone."
    elif b";" in line or b"\t" in line:
        message += " The columns are separated by commas."
    return InvalidInput(f"The first line is not acceptable: {message}", fields=(FieldError("line 1", message),))
