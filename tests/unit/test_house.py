"""The house rules that no linter knows: sizes, names, queries that are all used."""

from __future__ import annotations

import ast
import json
import logging
from pathlib import Path

import pytest

from service.repository.queries import Queries, sql_folder
from service.telemetry.logging import JsonFormatter

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "service").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes_and_names(path: Path) -> None:
    """Files up to 400 lines, functions up to 70, no name that says nothing."""
    text = path.read_text()
    assert text.count("\n") <= 400
    assert path.stem not in {"utils", "util", "common", "helpers", "manager"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 70, node.name


def test_pytest_never_imports_the_load_tests() -> None:
    """They patch the whole process when they are imported."""
    assert not list((ROOT / "tests" / "load").glob("test_*.py"))


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


def test_a_log_line_is_one_json_object() -> None:
    """With the fields of the call, and an exception in one line."""
    try:
        _ = 1 / 0
    except ZeroDivisionError as exc:
        about = (type(exc), exc, exc.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed %s", ("here",), about)
    record.fields = {"request_id": "r-1"}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    content = json.loads(line)
    assert (content["message"], content["level"], content["request_id"]) == ("failed here", "error", "r-1")
    assert "ZeroDivisionError" in content["exception"]
