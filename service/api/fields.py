"""The marshmallow fields of the schemas: strict, so that nothing is taken for something it is not.

Each says the same as a JSON schema, in `metadata`, where apispec looks for it; `meaning` becomes its description.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeVar

from marshmallow import ValidationError
from marshmallow.fields import Field, List

from service.events.address import ADDRESS, ADDRESS_SHAPE, LONGEST_ADDRESS, is_address
from service.events.targets import MOST_URL, URL, what_is_wrong
from service.ledger.ledgers import LEDGER_NAME, LEDGER_NAME_SHAPE
from service.ledger.money import ASSET, GREATEST_AMOUNT

MOST_METADATA = 16_384
DEEPEST_METADATA = 5
KEY = re.compile(r"[ !#-~]{1,255}")
WITHOUT_NUL = r"^[^\x00]*$"
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-5][0-9])")
# for a class of characters: what is white or invisible: controls, spaces, soft hyphens, marks of direction and width
INVISIBLE = r"\x00-\x20\x7f-\xa0\xad\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb"
_EMAIL = re.compile(f"[^@{INVISIBLE}]+@[^@{INVISIBLE}]+")
Value = TypeVar("Value")


class Described(Field[Value]):
    """A field with its JSON schema."""

    def __init__(self, schema: Mapping[str, Any], *, meaning: str = "", **options: Any) -> None:
        super().__init__(metadata={**schema, "description": meaning} if meaning else schema, **options)


class Whole(Described[int]):
    """A JSON integer in a range; no float, string or boolean passes for one."""

    def __init__(self, low: int, high: int = GREATEST_AMOUNT, **options: Any) -> None:
        super().__init__({"type": "integer", "minimum": low, "maximum": high}, **options)
        self._low, self._high = low, high

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if type(value) is int and self._low <= value <= self._high:
            return value
        raise ValidationError(f"expected a whole number from {self._low} to {self._high}")


class Flag(Described[bool]):
    """True or false, and nothing that would pass for either."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "boolean"}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        raise ValidationError("expected true or false")


class Text(Described[str]):
    """A string of a bounded number of characters, without NUL or lone surrogates."""

    def __init__(self, low: int, high: int, *, pattern: str = WITHOUT_NUL, **options: Any) -> None:
        super().__init__({"type": "string", "minLength": low, "maxLength": high, "pattern": pattern}, **options)
        self._low, self._high = low, high

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or not self._low <= len(value) <= self._high:
            raise ValidationError(f"expected a string of {self._low} to {self._high} characters")
        return storable(value)


class Email(Text):
    """An address as far as it can be told without sending to it: something, one @, a domain, no white space."""

    def __init__(self, **options: Any) -> None:
        super().__init__(3, 254, pattern=whole(_EMAIL), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if _EMAIL.fullmatch(text) is None:
            raise ValidationError("expected an email address, such as ada@example.com")
        return text


class Url(Described[str]):
    """Where a webhook leads, as far as its form tells."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "string", "maxLength": MOST_URL, "pattern": whole(URL)}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and len(value) <= MOST_URL and URL.fullmatch(value):
            return value
        raise ValidationError(what_is_wrong(value if isinstance(value, str) else ""))


class Asset(Described[str]):
    """An asset code with its scale."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "string", "pattern": whole(ASSET)}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and ASSET.fullmatch(value):
            return value
        raise ValidationError("expected a code and its scale from 0 to 18, such as USD/2, JPY/0 or POINTS/0")


class Key(Described[str]):
    """An idempotency key in JSON: as the header has it, without the quotes around it."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "string", "pattern": whole(KEY)}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and KEY.fullmatch(value):
            return value
        raise ValidationError("expected 1 to 255 printable ASCII characters, without double quotes")


class LedgerName(Text):
    """The name of a ledger."""

    def __init__(self, **options: Any) -> None:
        super().__init__(1, 63, pattern=whole(LEDGER_NAME), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and LEDGER_NAME.fullmatch(value):
            return value
        raise ValidationError(f"expected {LEDGER_NAME_SHAPE}")


class Address(Text):
    """Where an instance of a service is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(1, LONGEST_ADDRESS, pattern=whole(ADDRESS), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and is_address(value):
            return value
        raise ValidationError(f"expected {ADDRESS_SHAPE}, of at most {LONGEST_ADDRESS} characters")


class Choice(Described[str]):
    """One of a few words."""

    def __init__(self, *words: str, **options: Any) -> None:
        super().__init__({"type": "string", "enum": list(words)}, **options)
        self._words = words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and value in self._words:
            return value
        raise ValidationError(f"expected one of {', '.join(self._words)}")


class Time(Described[str]):
    """A moment in RFC 3339 with its zone, such as 2026-01-31T09:30:00.000000Z."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"type": "string", "format": "date-time", "pattern": whole(TIME)}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and TIME.fullmatch(value):
            return value
        raise ValidationError("expected a time with its zone, such as 2026-01-31T09:30:00Z")


class Moment(Time):
    """A Time that is read as what it says."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:  # type: ignore[override]
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise ValidationError("there is no such time") from None


class Several(List[Any]):
    """An array of some different values."""

    def __init__(self, inner: Field[Any], most: int, **options: Any) -> None:
        super().__init__(inner, metadata={"minItems": 1, "maxItems": most, "uniqueItems": True}, **options)
        self._most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[Any, ...]:  # type: ignore[override]
        if not isinstance(value, list) or not 1 <= len(value) <= self._most:
            raise ValidationError(f"expected an array of 1 to {self._most} values")
        found = tuple(super()._deserialize(value, attr, data, **kwargs))
        if len(set(found)) < len(found):
            raise ValidationError("a value is given more than once")
        return found


class Elements(List[Any]):
    """An array of 1 to `most` elements. Here only their number is looked at: they are checked by the slice."""

    def __init__(self, inner: Any, most: int, **options: Any) -> None:
        super().__init__(inner, metadata={"minItems": 1, "maxItems": most}, **options)
        self._most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list) or not 1 <= len(value) <= self._most:
            raise ValidationError(f"expected an array of 1 to {self._most} values")
        return value


class Metadata(Described[dict[str, Any]]):
    """A small JSON object of the client's own: strings, whole numbers, booleans, null, and objects and arrays of them."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"allOf": [{"$ref": "#/components/schemas/Metadata"}]}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("expected an object")
        if _size(value, DEEPEST_METADATA) > MOST_METADATA:
            raise ValidationError(f"expected at most {MOST_METADATA} characters in all")
        return value


def metadata_schemas() -> dict[str, dict[str, Any]]:
    """The JSON schemas that `Metadata` refers to, by name: one for each level of nesting, since these are bounded."""
    levels = ["Metadata", *(f"MetadataLevel{level}" for level in range(2, DEEPEST_METADATA + 1)), "MetadataScalar"]
    whole_number = {"type": "integer", "minimum": -GREATEST_AMOUNT, "maximum": GREATEST_AMOUNT}
    scalar = {"anyOf": [{"type": "string", "pattern": WITHOUT_NUL}, whole_number, {"type": ["boolean", "null"]}]}
    schemas: dict[str, dict[str, Any]] = {"MetadataScalar": scalar}
    for name, deeper in pairwise(levels):
        inner = {"$ref": f"#/components/schemas/{deeper}"}
        members = {"type": "object", "propertyNames": {"pattern": WITHOUT_NUL}, "additionalProperties": inner}
        schemas[name] = {"anyOf": [*scalar["anyOf"], members, {"type": "array", "items": inner}]}
        if name == "Metadata":
            bounds = f"at most {DEEPEST_METADATA} levels deep, and about {MOST_METADATA} characters in all"
            schemas[name] = {**members, "description": f"The client's own: {bounds}."}
    return schemas


def whole(pattern: re.Pattern[str]) -> str:
    """`pattern` as JSON schemas take it, which look for a match anywhere."""
    return f"^(?:{pattern.pattern})$"


def storable(text: str) -> str:
    """`text`, if UTF-8 and PostgreSQL can hold it. Raises ValidationError."""
    if "\x00" in text:
        raise ValidationError("a NUL character cannot be stored")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise ValidationError("a lone surrogate is no character")
    return text


def _size(value: Any, depth: int) -> int:
    """The characters in `value`; raises ValidationError for what metadata may not hold."""
    if isinstance(value, str):
        return len(storable(value))
    if value is None or isinstance(value, bool):
        return 4
    if isinstance(value, int):
        if abs(value) > GREATEST_AMOUNT:
            raise ValidationError("a number is beyond 2^53-1; send it as a string")
        return 16
    if isinstance(value, float):
        raise ValidationError("numbers must be whole; send others as strings")
    if depth == 0:
        raise ValidationError(f"nested more than {DEEPEST_METADATA} levels deep")
    if isinstance(value, dict):
        return sum(len(storable(name)) + _size(inner, depth - 1) + 2 for name, inner in value.items()) + 2
    return sum(_size(inner, depth - 1) + 1 for inner in value) + 2
