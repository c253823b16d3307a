"""Everything in tests/core once more, in a process that gevent has patched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_core_passes_its_tests_on_greenlets() -> None:
    """The same tests, the same claims; the output of a failure is this test's."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.core.patched", "tests/core", "-q"],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )
    print(done.stdout[-20_000:], done.stderr[-5_000:])
    assert done.returncode == 0, done.stdout.splitlines()[-1:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
