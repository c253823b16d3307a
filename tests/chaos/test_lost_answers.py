"""The answer to a COMMIT is lost on its way, again and again: callers learn what is true, and nothing is posted twice."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from tests.chaos.conftest import FULL, SETTINGS, Ledger, open_ledger
from tests.chaos.figures import Figures
from tests.conftest import TestServer, fresh_database
from tests.proxy import Cut, Proxy
from tests.serving import Serve, descendants, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

CUTS = 1_000 if FULL else 30
CUT_EVERY_S = 0.06  # a tenth of the batches or so: the others keep the pace
SLOW_S = 20.0 if FULL else 1.5
LATENCY_S = 0.2

Table = Callable[[str, Figures], None]


@pytest.fixture(scope="module")
def url(test_server: TestServer) -> Iterator[str]:
    """A database for all tests of this file."""
    yield from fresh_database(test_server, "template")


@pytest.fixture(scope="module")
def proxy(url: str) -> Iterator[Proxy]:
    """In front of it."""
    with Proxy(url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def ledger(proxy: Proxy, url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Serves through the proxy."""
    with Serve(tmp_path_factory.mktemp("proxied"), DATABASE_URL=proxy.url, **SETTINGS) as server:
        yield open_ledger(server, url)
        assert server.stop() == 0
        assert descendants(server.process.pid) == []


def test_lost_acknowledgements_lose_and_double_nothing(ledger: Ledger, proxy: Proxy, table: Table) -> None:
    """Requests with a key learn their outcome; of the others, told that it is unknown, some were posted and some not."""
    choice = random.Random(1)
    with ledger.load(without_key=0.5) as load:
        for _ in range(CUTS):
            with load.fault(recover=False):
                proxy.arm(choice.choice(list(Cut)))
                wait_until(lambda: not proxy.armed, 10, every_s=0.005)
            load.pause(CUT_EVERY_S)
        load.wait_good()
    assert proxy.cuts.total() == CUTS
    posted = ledger.told.check(ledger.database_url)
    assert proxy.cuts[Cut.ANSWER] > 0
    assert load.unknown > 0
    print(f"\n{dict(proxy.cuts)}; {load.unknown} unknown, of which {posted} were posted")
    table("the answer to COMMIT lost", ledger.check(load))


def test_latency_only_slows(ledger: Ledger, proxy: Proxy, table: Table) -> None:
    """200 ms more each way to the database: every request is answered well, and the pace is kept."""
    with ledger.load(clients=400) as load:
        with load.fault(recover=False):
            proxy.latency_s = LATENCY_S
            load.pause(SLOW_S)
            proxy.latency_s = 0.0
        load.wait_good()
    table("200 ms more each way", ledger.check(load))
