"""Messages and the JSON that HTTP has in their place: one walk over the descriptors, for every message there is.

A message's fields are named as the JSON's members. The differences, all of them:

- what is null in JSON is not there in a message; `without_NAME: true` in a request is `NAME: null`;
- a time is a google.protobuf.Timestamp, the client's own metadata a google.protobuf.Struct, whose numbers are doubles: whole
  ones become integers, and others are refused as they are in JSON;
- a word of a few is an enum: `ACCOUNT_STATUS_OPEN` is "open".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.unknown_fields import UnknownFieldSet

from service.errors import FieldError, InvalidInput, MalformedRequest

MOST_UNKNOWN = 20  # fields that are told
_WITHOUT = "without_"
_WORD_OF = "unspecified"


def parse(kind: type[Message], data: bytes) -> Message:
    """The message in `data`. Raises MalformedRequest for what is none, InvalidInput for fields that there are not."""
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as exc:
        raise MalformedRequest("The message cannot be read: it is cut off, or a text in it is not UTF-8.") from exc
    if unknown := sorted(set(islice(_unknown(message, ""), MOST_UNKNOWN))):
        problems = tuple(FieldError(name, "there is no such field here") for name in unknown)
        raise InvalidInput("The message has fields that this server does not know.", fields=problems)
    return message


def _unknown(message: Message, within: str) -> Iterator[str]:
    """The fields that there are not, in messages in the message too: `#5`, `transfers[0].#5`."""
    for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]
        yield f"{within}#{unknown.field_number}"
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.file.package == message.DESCRIPTOR.file.package:
            for number, inner in enumerate(value if field.is_repeated else (value,)):
                place = f"[{number}]" if field.is_repeated else ""
                yield from _unknown(inner, f"{within}{field.name}{place}.")


def to_values(message: Message) -> dict[str, Any]:
    """A request's fields, those that are set, by the names that the JSON has.

    Raises InvalidInput, which names the field, for times and numbers that are none.
    """
    values: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.name.startswith(_WITHOUT):
            if value:
                values[field.name.removeprefix(_WITHOUT)] = None
        elif field.is_repeated:
            values[field.name] = [_value(field, each) for each in value]
        else:
            values[field.name] = _value(field, value)
    return values


def _value(field: Any, value: Any) -> Any:
    try:
        if isinstance(value, Struct):
            return _object(value)
        if isinstance(value, Timestamp):
            return value.ToDatetime(tzinfo=UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        message = "there is no such time" if isinstance(value, Timestamp) else "NaN and infinity are no JSON numbers"
        raise InvalidInput(f"{field.name}: {message}.", fields=(FieldError(field.name, message),)) from None
    if field.message_type is not None:
        return to_values(value)
    return value if field.enum_type is None else _word(field.enum_type, value)


def _object(struct: Struct) -> dict[str, Any]:
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    """As JSON has it. Raises ValueError for a number that it cannot have."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _object(value.struct_value)
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    if kind == "number_value":
        if not isfinite(value.number_value):
            raise ValueError(value.number_value)
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    return None if kind in (None, "null_value") else getattr(value, kind)


def fill(message: Message, values: Mapping[str, Any]) -> Message:
    """`message` with what the JSON `values` say; members that it has no field for are left out. Returns it."""
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if value is None or field is None:
            continue
        if field.is_repeated:
            _extend(field, getattr(message, name), value)
        elif field.message_type is None:
            setattr(message, name, value if field.enum_type is None else _number(field.enum_type, value))
        else:
            _fill_inner(getattr(message, name), value)
    return message


def _extend(field: Any, target: Any, values: list[Any]) -> None:
    if field.message_type is None:
        target.extend(values)
    else:
        for value in values:
            _fill_inner(target.add(), value)


def _fill_inner(inner: Message, value: Any) -> None:
    inner.SetInParent()
    if isinstance(inner, Timestamp):
        inner.FromDatetime(datetime.fromisoformat(value))
    elif isinstance(inner, (Struct, ListValue)):
        inner.update(value) if isinstance(inner, Struct) else inner.extend(value)
    else:
        fill(inner, value)


def _prefix(enum: Any) -> str:
    """AccountStatus → ACCOUNT_STATUS_, which is how its values begin."""
    first: str = enum.values[0].name
    return first.removesuffix(_WORD_OF.upper())


def _word(enum: Any, number: int) -> str:
    """The JSON's word; of a number that has none, the number, which the schema refuses."""
    value = enum.values_by_number.get(number)
    return str(number) if value is None else value.name.removeprefix(_prefix(enum)).lower()


def _number(enum: Any, word: str) -> int:
    """The enum's value; 0 (unspecified) for a word that it does not have."""
    value = enum.values_by_name.get(_prefix(enum) + word.upper())
    return 0 if value is None else value.number
