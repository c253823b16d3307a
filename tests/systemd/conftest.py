"""One machine with ledgerd for all tests that need one. Those run when LEDGERD_SYSTEMD asks for them: `make test-systemd`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.bundles import make_bundle
from tests.systemd.installed import Installed
from tests.systemd.machine import Machine, missing

ASKED = os.environ.get("LEDGERD_SYSTEMD")  # `bounded` or `full`
ROUNDS = 20 if ASKED == "full" else 3
collect_ignore_glob = [] if ASKED else ["test_on_*.py"]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout's bundle."""
    return make_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A booted machine without ledgerd."""
    assert missing() is None, missing()
    with Machine() as booted:
        yield booted.boot()


@pytest.fixture(scope="session")
def installed(bundle: Path) -> Iterator[Installed]:
    """ledgerd on a machine, with a database of its own."""
    assert missing() is None, missing()
    with Machine() as machine:
        yield Installed(machine.boot()).install(bundle)


@pytest.fixture
def ledgerd(installed: Installed) -> Installed:
    """The installation, ready, whatever the test before it has done."""
    installed.machine.run("systemctl", "start", "ledgerd.target", installed.web)
    installed.wait_ready()
    return installed
