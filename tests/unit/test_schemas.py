"""The short way through a schema accepts what marshmallow accepts, makes the same of it, and leaves the rest to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from service.api import schemas
from service.errors import InvalidInput

SCHEMAS = [schemas.UserInput, schemas.AccountInput, schemas.AccountChanges, schemas.TransferInput, schemas.BulkItem]
NAMES = sorted({name for schema in SCHEMAS for name in schema().fields} | {"unknown"})
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(), st.floats(), st.text(max_size=3),
    st.sampled_from(["USD/2", "ada@example.com", "open", "frozen", "x" * 300, "\x00", "\ud800"]),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2), st.lists(st.integers(), max_size=2),
)


@pytest.mark.parametrize("schema", SCHEMAS)
@given(data=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
def test_the_short_way_is_marshmallows(schema: type[schemas.Schema], data: dict[str, Any]) -> None:
    """The same values with the same defaults, or InvalidInput where marshmallow has an error."""
    try:
        expected = schema().load(data)
    except ValidationError:
        assert schemas._accept(schema(), data) is None
        with pytest.raises(InvalidInput):
            schemas.load(schema(), data)
    else:
        assert schemas._accept(schema(), data) == schemas.load(schema(), data) == expected


@pytest.mark.parametrize("schema", SCHEMAS)
def test_schemas_have_nothing_that_the_short_way_passes_over(schema: type[schemas.Schema]) -> None:
    """No hooks, no validators beside the fields' own checks, no other names in the data."""
    assert not any(schema._hooks.values())
    for field in schema().load_fields.values():
        assert not field.validators
        assert field.data_key is None
        assert field.attribute is None
