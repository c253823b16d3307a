"""What a rate limit costs a request (`make bench`): the bucket, and the whole middleware around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.limits.bucket import Limit
from service.limits.file import BucketFile
from service.limits.limiter import Limiter
from service.limits.table import Table
from service.middleware.answer_headers import answer_headers
from service.middleware.client_address import client_address
from service.middleware.environ import CLIENT_ADDRESS, PRINCIPAL
from service.middleware.rate_limit import Callers, rate_limit

GENEROUS = Limit(1_000_000, 1_000_000)
SMALL = Limit(1_000_000, 100)  # of a burst that is always counted under the lock


@pytest.fixture
def limiter(tmp_path: Path) -> Iterator[Limiter]:
    """On a file of its own."""
    made = Limiter(Table(BucketFile(tmp_path)), key_limit=GENEROUS, address_limit=SMALL)
    yield made
    made.close()


def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An application that does nothing."""
    start_response("200 OK", [])
    return []


def test_a_generous_limit(benchmark: Any, limiter: Limiter) -> None:
    """Counted by the process itself, nearly always."""
    assert benchmark(limiter.take_key, "0123456789ab", None, None)[0] is GENEROUS


def test_a_limit_under_the_lock(benchmark: Any, limiter: Limiter) -> None:
    """Two system calls more."""
    assert benchmark(limiter.take_key, "0123456789ab", 1_000_000.0, 100)[0].burst == 100


def test_a_limited_request(benchmark: Any, limiter: Limiter) -> None:
    """Both layers, headers included."""
    callers = Callers(limiter)
    app = answer_headers(rate_limit(lambda key: limiter.take_key(key, None, None), callers)(answer))
    assert benchmark(lambda: app({PRINCIPAL: "0123456789ab"}, lambda _status, _headers, _exc_info: print)) == []


@pytest.mark.parametrize("trusted", [(), ("127.0.0.1",)], ids=["no proxies", "behind a proxy"])
def test_the_client_address(benchmark: Any, trusted: tuple[str, ...]) -> None:
    """Addresses that were seen before."""
    app = client_address(trusted)(lambda environ, _start: environ[CLIENT_ADDRESS])  # type: ignore[arg-type]
    environ = {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}
    assert benchmark(app, environ, print) == ("192.0.2.7" if trusted else "127.0.0.1")


def test_an_application_that_does_nothing(benchmark: Any) -> None:
    """What the two above it are compared with."""
    assert benchmark(lambda: answer({}, lambda _status, _headers: print)) == []
