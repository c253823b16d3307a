"""A long body is read by the slice as the whole is read in one: the same value, or an error where there is one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.body import STRICT
from service.api.long_body import SLICE, read_long
from service.errors import InvalidInput, LedgerdError, MalformedRequest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["many", "mode", "x"]), VALUES | st.lists(VALUES, max_size=6), max_size=3)


def in_one(text: str) -> Any:
    """As `body` reads it, or None."""
    try:
        value = STRICT.decode(text)
    except (ValueError, LedgerdError):
        return None
    return value if isinstance(value, dict) else None


def by_slices(text: str) -> Any:
    """As a long body is read, or None."""
    try:
        return read_long(text.encode(), "many", 1000)
    except LedgerdError:
        return None


@given(value=OBJECTS, indent=st.sampled_from([None, 0, 1]))
def test_what_is_good_is_read_alike(value: dict[str, Any], indent: int | None) -> None:
    """With white space and without."""
    text = json.dumps(value, indent=indent)
    assert by_slices(text) == in_one(text) == value


@given(
    value=OBJECTS, places=st.lists(st.integers(0, 200), min_size=1, max_size=3),
    new=st.sampled_from([*'{}[]",:', "", " ", "\n", "\t", "null", "NaN", "1", '"many":[1],', "\u00a0"]),
)
def test_what_is_bad_is_refused_alike(value: dict[str, Any], places: list[int], new: str) -> None:
    """Whatever stands in the wrong place, or is missing."""
    text = json.dumps(value, ensure_ascii=False)
    for place in places:
        at = place % (len(text) + 1)
        text = text[:at] + new + text[at + (new == "") :]
    assert by_slices(text) == in_one(text)


@pytest.mark.parametrize("number", [SLICE - 1, SLICE, SLICE + 1, 2 * SLICE])
def test_slices_end_where_they_end(number: int) -> None:
    """At the edge of a slice nothing is lost, and nothing is let through."""
    assert read_long(json.dumps({"many": [{}] * number}).encode(), "many", number) == {"many": [{}] * number}
    with pytest.raises(InvalidInput):
        read_long(json.dumps({"many": [{}] * number}).encode(), "many", number - 1)
    for end in (b"]", b",]}", b"", b" {}]}"):
        with pytest.raises(MalformedRequest):
            read_long(b'{"many": [' + b",".join([b"{}"] * number) + end, "many", number)
