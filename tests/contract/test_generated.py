"""Requests made from the document to a real `ledgerd serve`, bounded; `make contract` sends ten times as many."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from tests.contract.document import the_document
from tests.contract.generated import UPGRADED, run
from tests.serving import Serve


@pytest.fixture
def serve(database_url: str, tmp_path: Path) -> Iterator[Serve]:
    """A ready `ledgerd serve` on the test's database, with one worker."""
    with Serve(tmp_path / "data", DATABASE_URL=database_url, LEDGERD_WORKERS="1").wait_ready() as running:
        yield running


def test_no_generated_request_is_answered_outside_the_document(serve: Serve, tmp_path: Path) -> None:
    """Every operation, valid and invalid requests, and chains of them: no 5xx, and every answer is a documented one."""
    outcome = run(
        serve, tmp_path, "--phases", "examples,fuzzing,stateful", "--max-examples", "15", "--seed", "1", timeout_s=280
    )
    assert outcome.passed, outcome.text
    assert outcome.cases >= 400, outcome.text
    operations = sum(len(methods) for path, methods in the_document()["paths"].items() if path != UPGRADED)
    assert (outcome.operations["tested"], outcome.operations["errored"]) == (operations, 0), outcome.text


def test_a_document_that_is_wrong_is_found_out(serve: Serve, tmp_path: Path) -> None:
    """With another type for a member, and an error left out, such requests fail."""
    wrong = deepcopy(the_document())
    wrong["components"]["schemas"]["User"]["properties"]["version"] = {"type": "string"}
    del wrong["paths"]["/api/users"]["post"]["responses"]["422"]
    outcome = run(
        serve, tmp_path, "--phases", "examples,fuzzing", "--max-examples", "10", "--seed", "1", "--include-path", "/api/users",
        timeout_s=120, document=wrong,
    )
    assert not outcome.passed
    assert "Response violates schema" in outcome.text
    assert "Undocumented status code" in outcome.text
