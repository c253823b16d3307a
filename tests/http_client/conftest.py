"""The client leaves nothing behind: no thread, no connection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.client import Client
from service.concurrency.context import background
from tests.core.leaks import snapshot
from tests.http_client.scripted import answer, scripted

LOOKED_AT = ("test_exchange", "test_repetition", "test_instances")  # the others have servers that outlive a test


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test, once what a process makes at the first call and keeps is there."""
    if not request.module.__name__.endswith(LOOKED_AT):
        yield
        return
    with scripted(answer(200, {})) as server, Client(server.url.replace("127.0.0.1", "localhost"), None) as client:
        client.get(background(), "/a")
    before = snapshot()
    yield
    left = before.left_behind()
    assert not left, f"the test left {left}"
