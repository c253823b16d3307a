"""`ledgerd web` as systemd runs it, with faults that a test may switch on in what it loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from service.app import Application
from tests.acceptance.test_posting import open_accounts
from tests.client import ApiClient
from tests.server.load import Load
from tests.server.web import NotifySocket, Web
from tests.serving import ROOT

FAULTS = """
import os, sys, time

class Faults:
    def find_spec(self, name, path=None, target=None):
        if name == "service.api.hot" and "service.server" in " ".join(sys.orig_argv):
            if os.path.exists({folder!r} + "/broken"):
                raise ImportError("this release is broken")
            while os.path.exists({folder!r} + "/hangs"):
                time.sleep(0.05)

sys.meta_path.insert(0, Faults())
"""


@pytest.fixture
def notify() -> Iterator[NotifySocket]:
    """Where the server tells its state."""
    with ExitStack() as stack:
        made = NotifySocket()
        stack.callback(made.close)
        yield made


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    """A folder: while it has a file `broken`, a worker's import of the application fails; while it has `hangs`, that hangs."""
    folder = tmp_path / "faults"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAULTS.format(folder=str(folder)))
    return folder


@pytest.fixture
def start(notify: NotifySocket, database_url: str, tmp_path: Path, faults: Path) -> Iterator[Callable[..., Web]]:
    """Starts a server on the test's database; all of them are gone at the end."""
    with ExitStack() as stack:

        def start_one(**options: Any) -> Web:
            settings = {"DATABASE_URL": database_url, "PYTHONPATH": f"{faults}:{ROOT}", **options}
            return stack.enter_context(Web(tmp_path, notify, **settings))

        yield start_one


@pytest.fixture
def load(application: Application, api: ApiClient, key: str) -> Callable[..., Load]:
    """Makes a load of transfers on a port, on accounts that this process has opened."""
    accounts = open_accounts(api, 2)
    return lambda port, **options: Load(port, key, [accounts[1], accounts[0]], **options)
