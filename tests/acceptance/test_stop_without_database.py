"""Stopping while PostgreSQL does not answer: bounded, whatever waits for it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.acceptance.test_posting import open_accounts, post
from tests.client import HttpClient
from tests.conftest import TestServer
from tests.serving import Serve, descendants, http_status, stopped, wait_until

SETTINGS = {"LEDGERD_WORKERS": "1", "LEDGERD_SHUTDOWN_TIMEOUT_S": "2", "LEDGERD_LOG_LEVEL": "warning"}


@pytest.mark.slow
def test_a_stop_does_not_wait_for_a_database_that_stands_still(
    test_server: TestServer, database_url: str, tmp_path: Path
) -> None:
    """Transfers and reads wait for it, with half a minute to go; /readyz says no, and the stop is as bounded as ever."""
    with Serve(tmp_path, DATABASE_URL=database_url, **SETTINGS) as server:
        key = server.wait_ready().key()
        setup = HttpClient(server.port, key)
        first, second, _ = open_accounts(setup, 3)

        def ask(read: bool) -> None:
            client = HttpClient(server.port, key)
            try:
                client.call("GET", f"/api/accounts/{first}") if read else post(client, first, second, 1)
            except OSError:
                return
            finally:
                client.close()

        callers = [threading.Thread(target=ask, args=(number % 2 == 0,)) for number in range(8)]
        with stopped(test_server.postgres.pid):
            for caller in callers:
                caller.start()
            wait_until(lambda: http_status(f"http://127.0.0.1:{server.port}/readyz") == 503, 20)
            server.stop(timeout_s=30)
        for caller in callers:
            caller.join(30)
            assert not caller.is_alive()
        assert descendants(server.process.pid) == []
        setup.close()
