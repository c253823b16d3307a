"""Every test of the core leaves nothing behind, on threads and on greenlets."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.core.leaks import snapshot


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """Fails a test that leaves a thread, a greenlet, a process or an open descriptor behind."""
    before = snapshot()
    yield
    left = before.left_behind()
    assert not left, "left behind: " + "; ".join(left)


@pytest.fixture(scope="session", autouse=True)
def _switch_interval() -> Iterator[None]:
    """LEDGERD_SWITCH_INTERVAL_S makes threads take turns that often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(float(os.environ.get("LEDGERD_SWITCH_INTERVAL_S", before)))
    yield
    sys.setswitchinterval(before)
