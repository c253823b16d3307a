"""The marshmallow fields of the schemas: strict, so that nothing is taken for something it is not."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from marshmallow import ValidationError
from marshmallow.fields import Field, List

from service.ledger.ledgers import LEDGER_NAME, LEDGER_NAME_SHAPE
from service.ledger.money import ASSET, GREATEST_AMOUNT

MOST_METADATA = 16_384
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
DEEPEST_METADATA = 5


class Whole(Field[int]):
    """A JSON integer in a range; no float, string or boolean passes for one."""

    def __init__(self, low: int, high: int = GREATEST_AMOUNT, **options: Any) -> None:
        super().__init__(**options)
        self._low, self._high = low, high

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if type(value) is int and self._low <= value <= self._high:
            return value
        raise ValidationError(f"expected a whole number from {self._low} to {self._high}")


class Text(Field[str]):
    """A string of a bounded number of characters, without NUL or lone surrogates."""

    def __init__(self, low: int, high: int, **options: Any) -> None:
        super().__init__(**options)
        self._low, self._high = low, high

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if not isinstance(value, str) or not self._low <= len(value) <= self._high:
            raise ValidationError(f"expected a string of {self._low} to {self._high} characters")
        return storable(value)


class Email(Text):
    """An address as far as it can be told without sending to it: something, one @, a domain, no white space."""

    def __init__(self, **options: Any) -> None:
        super().__init__(3, 254, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        local, _, domain = text.rpartition("@")
        if not local or not domain or "@" in local or any(c.isspace() or not c.isprintable() for c in text):
            raise ValidationError("expected an email address, such as ada@example.com")
        return text


class Asset(Field[str]):
    """An asset code with its scale."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and ASSET.fullmatch(value):
            return value
        raise ValidationError("expected a code and its scale from 0 to 18, such as USD/2, JPY/0 or POINTS/0")


class LedgerName(Text):
    """The name of a ledger."""

    def __init__(self, **options: Any) -> None:
        super().__init__(1, 63, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and LEDGER_NAME.fullmatch(value):
            return value
        raise ValidationError(f"expected {LEDGER_NAME_SHAPE}")


class Choice(Field[str]):
    """One of a few words."""

    def __init__(self, *words: str, **options: Any) -> None:
        super().__init__(**options)
        self._words = words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        if isinstance(value, str) and value in self._words:
            return value
        raise ValidationError(f"expected one of {', '.join(self._words)}")


class Time(Field[str]):
    """A moment in RFC 3339 with its zone, such as 2026-01-31T09:30:00.000000Z."""

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
        super().__init__(inner, **options)
        self._most = most

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[Any, ...]:  # type: ignore[override]
        if not isinstance(value, list) or not 1 <= len(value) <= self._most:
            raise ValidationError(f"expected an array of 1 to {self._most} values")
        found = tuple(super()._deserialize(value, attr, data, **kwargs))
        if len(set(found)) < len(found):
            raise ValidationError("a value is given more than once")
        return found


class Metadata(Field[dict[str, Any]]):
    """A small JSON object of the client's own: strings, whole numbers, booleans, null, and objects and arrays of them."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("expected an object")
        if _size(value, DEEPEST_METADATA) > MOST_METADATA:
            raise ValidationError(f"expected at most {MOST_METADATA} characters in all")
        return value


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
