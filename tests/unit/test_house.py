"""The house rules that no linter knows: sizes and names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "service" / "rpc" / "v1"
FILES = sorted(path for path in (ROOT / "service").rglob("*.py") if path.parent != GENERATED)


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


@pytest.mark.parametrize("name", ["service.concurrency", "service.app", "psycopg", "prometheus_client", "opentelemetry"])
def test_the_arbiter_loads_nothing_that_gevent_must_patch_first(name: str) -> None:
    """Workers are forked from it, and would go on with native locks."""
    check = f"import sys, service.server.__main__; sys.exit({name!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=False).returncode == 0
