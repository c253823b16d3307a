"""Cursors: only what was issued is one."""

from __future__ import annotations

import pytest

from service.api.cursors import Cursors
from service.concurrency.context import background
from service.errors import InvalidInput

SCOPE = "a list"


def test_only_the_very_text_that_was_issued_is_a_cursor() -> None:
    """Not another spelling of the same bytes in base64."""
    cursors, ctx = Cursors(lambda _: b"secret"), background()
    issued = {position: cursors.issue(ctx, SCOPE, position) for position in range(100)}
    assert any("-" in cursor for cursor in issued.values())
    assert any("_" in cursor for cursor in issued.values())
    for position, cursor in issued.items():
        assert cursors.position(ctx, SCOPE, cursor) == position
        others = {cursor + "=", cursor + "====", cursor.replace("-", "+"), cursor.replace("_", "/"), cursor + "\n", ""}
        for other in others - {cursor}:
            with pytest.raises(InvalidInput):
                cursors.position(ctx, SCOPE, other)
