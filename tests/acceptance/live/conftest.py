"""One server for all that listen to events, each in a ledger of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.acceptance.events import Poster, new_key, serving
from tests.conftest import TestServer, fresh_database
from tests.serving import Serve


@pytest.fixture(scope="module")
def url(test_server: TestServer) -> Iterator[str]:
    """A database for the server of these tests."""
    yield from fresh_database(test_server, "template")


@pytest.fixture(scope="module")
def served(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """One server for all that look at a ledger of their own."""
    with serving(tmp_path_factory.mktemp("served"), url, LEDGERD_WORKERS="2") as server:
        yield server


@pytest.fixture
def key(url: str) -> str:
    """An admin key of a new ledger."""
    return new_key(url)


@pytest.fixture
def poster(served: Serve, key: str) -> Iterator[Poster]:
    """Who posts in that ledger."""
    with closing(Poster(served.port, key)) as poster:
        yield poster
