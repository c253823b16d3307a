"""Releases on a real systemd: good ones lose nothing, broken ones change nothing."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from tests.invariants import check_invariants
from tests.systemd.bundles import cut_version
from tests.systemd.conftest import ROUNDS
from tests.systemd.installed import WEB, Installed
from tests.systemd.load import Load

RATE = 500.0


def check_books(ledgerd: Installed, told: dict[str, int]) -> None:
    """The books balance, and every transfer that was acknowledged is there, under its key."""
    with ledgerd.as_its_user():
        check_invariants(ledgerd.database_url)
        with psycopg.connect(ledgerd.database_url) as conn:
            query = "SELECT key, transfer_id FROM idempotency_keys WHERE key = ANY (%s)"
            stored = dict(conn.execute(query, (list(told),)).fetchall())
    assert stored == told


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_releases_lose_no_request(ledgerd: Installed, bundle: Path, tmp_path: Path) -> None:
    """Release after release under 500 requests a second: none fails, and every acknowledged transfer is there."""
    name = f"release-{time.monotonic_ns()}"
    bundles = [cut_version(bundle, tmp_path, f"0.2.{number}") for number in range(ROUNDS)]
    with Load(ledgerd.port, ledgerd.token, ledgerd.open_accounts(20), RATE, name) as load:
        for number, made in enumerate(bundles):
            old = ledgerd.live
            ledgerd.release(made)
            assert ledgerd.version == f"0.2.{number}"
            assert ledgerd.live != old
            assert not ledgerd.machine.is_active(WEB.format(old))
    print(f"\n{ROUNDS} releases: {load}")
    assert load.seen.failed == []
    check_books(ledgerd, load.seen.transfers)
