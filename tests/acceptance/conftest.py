"""Real servers: `ledgerd serve` with two workers on the run's PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client import HttpClient
from tests.serving import Serve, descendants


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Iterator[Serve]:
    """A ready server on a fresh database; nothing of it is left afterwards."""
    with Serve(
        tmp_path, DATABASE_URL=database_url, LEDGERD_WORKERS="2", LEDGERD_LOG_LEVEL="warning", LEDGERD_DB_MAX_OPEN="10"
    ) as server:
        yield server.wait_ready()
    assert descendants(server.process.pid) == []


@pytest.fixture
def payer_key(served: Serve) -> str:
    """An admin key; accounts 1 and 2 are there, of which the first has no floor."""
    key = served.key()
    client = HttpClient(served.port, key)
    for floor in (None, 0):
        assert client.call("POST", "/api/accounts", {"asset": "USD/2", "min_balance": floor}).status == 201
    client.close()
    return key


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory for an embedded server: a short path, open to PostgreSQL's system user."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-data-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
