"""The JSON of answers: two encoders stand behind it, and nobody may be able to tell which one wrote an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.calls import to_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(st.dictionaries(TEXT, VALUES))
def test_both_encoders_write_the_same(content: dict[str, Any]) -> None:
    """Byte for byte, be it with numbers that only the slower one can write."""
    assert to_json(content) == json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def test_a_number_of_more_than_64_bits_is_written_whole() -> None:
    """What was stored before amounts had bounds, or by another hand."""
    assert to_json({"n": 2**64, "m": -(2**70)}) == b'{"n":18446744073709551616,"m":-1180591620717411303424}'


def test_half_a_character_is_an_error_and_no_answer() -> None:
    """A lone surrogate is in no UTF-8."""
    with pytest.raises(UnicodeEncodeError):
        to_json({"text": "\ud800"})
