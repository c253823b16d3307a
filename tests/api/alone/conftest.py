"""For tests that look at a whole database, or configure or stop their application: all of it their own, and ledger `main`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.app import Application
from service.config import Config
from tests.conftest import TestServer, fresh_database, opened


@pytest.fixture
def database_url(test_server: TestServer) -> Iterator[str]:
    """A migrated database without any row."""
    yield from fresh_database(test_server, "template")


@pytest.fixture
def application(config: Config) -> Iterator[Application]:
    """The whole application, in this process, on threads."""
    yield from opened(config)


@pytest.fixture
def ledger() -> str:
    """The one that is always there."""
    return "main"
