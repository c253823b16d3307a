"""One application for the tests of a file, each of which has a ledger of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from service.app import Application
from tests.conftest import TestServer, config_for, fresh_database, make_key, opened

_ledgers = count(1)


@pytest.fixture(scope="module")
def database_url(test_server: TestServer) -> Iterator[str]:
    """A migrated database for the file."""
    yield from fresh_database(test_server, "template")


@pytest.fixture(scope="module")
def application(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    """The whole application, in this process, on threads."""
    yield from opened(config_for(database_url, tmp_path_factory.mktemp("application")))


@pytest.fixture
def ledger() -> str:
    """The name of one that nobody else uses; it is made with its first key."""
    return new_ledger()


@pytest.fixture
def key(database_url: str, ledger: str) -> str:
    """An admin key of that ledger."""
    return make_key(database_url, ledger)


def new_ledger() -> str:
    """The name of another one."""
    return f"ledger-{next(_ledgers)}"
