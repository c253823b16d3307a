"""Real servers: `ledgerd serve` with two workers on the run's PostgreSQL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

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
def data_dir() -> Iterator[Path]:
    """A data directory for an embedded server: a short path, open to PostgreSQL's system user."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-data-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
