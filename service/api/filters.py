"""Values out of a query: ids, times, texts, and one of a few words. Each raises InvalidInput that names the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NoReturn

from service.api.calls import path_id
from service.api.fields import TIME
from service.errors import FieldError, InvalidInput, NotFound
from service.ledger.money import GREATEST_ID
from service.ledger.transfers import Wanted


def query_id(values: Mapping[str, str], name: str) -> int | None:
    """The id given as the parameter `name`, or None."""
    if name not in values:
        return None
    try:
        return path_id(name, values[name] or "?")
    except NotFound:
        _refuse(name, f"expected a whole number from 1 to {GREATEST_ID}")


def query_time(values: Mapping[str, str], name: str) -> datetime | None:
    """The moment given as the parameter `name`, in UTC, or None; it must tell its zone."""
    if name not in values:
        return None
    text = values[name].replace(" ", "+")  # a plus that was not encoded arrives as a space
    try:
        if TIME.fullmatch(text) is None:
            raise ValueError(text)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # the 31st of February; a year 0
        _refuse(name, "expected a time with its zone, such as 2026-01-31T09:30:00Z")


def query_word(values: Mapping[str, str], name: str, *words: str) -> str | None:
    """The one of `words` given as the parameter `name`, or None."""
    value = values.get(name)
    if value is not None and value not in words:
        _refuse(name, f"expected one of {', '.join(words)}")
    return value


def query_text(values: Mapping[str, str], name: str, most: int) -> str | None:
    """The text of 1 to `most` characters given as the parameter `name`, or None."""
    value = values.get(name)
    if value is not None and not 1 <= len(value) <= most:
        _refuse(name, f"expected 1 to {most} characters")
    return value


def query_stretch(values: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    """The moments given as `from` and `to`, or None for each; a stretch of time does not end before it begins."""
    since, until = query_time(values, "from"), query_time(values, "to")
    if since is not None and until is not None and since > until:
        _refuse("from", "is later than `to`")
    return since, until


def read_wanted(values: Mapping[str, str]) -> Wanted:
    """Which transfers are wanted."""
    since, until = query_stretch(values)
    account_id, reference = query_id(values, "account_id"), query_text(values, "reference", 255)
    return Wanted(account_id=account_id, reference=reference, since=since, until=until)


def _refuse(name: str, message: str) -> NoReturn:
    raise InvalidInput(f"{name}: {message}.", fields=(FieldError(name, message),))
