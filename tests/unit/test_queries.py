"""The named queries: each is found, and none is left unused."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.repository.queries import Queries, sql_folder


def test_a_missing_and_an_unused_query_are_errors(tmp_path: Path) -> None:
    """At start-up, by name; a name given twice as well."""
    (tmp_path / "a.sql").write_text("-- name: one\nSELECT 1;\n\n-- name: two\nSELECT 2;\n")
    queries = Queries(tmp_path)
    assert queries.take("one") == "SELECT 1"
    with pytest.raises(LookupError, match="no query named three"):
        queries.take("three")
    with pytest.raises(LookupError, match="nothing uses: two"):
        queries.check_all_taken()
    (tmp_path / "b.sql").write_text("-- name: one\nSELECT 3;\n")
    with pytest.raises(ValueError, match="one is defined twice"):
        Queries(tmp_path)


def test_the_sql_is_found() -> None:
    """In a checkout beside the package."""
    assert (sql_folder() / "functions" / "post_transfers.sql").exists()
