"""`python -m tests.core.patched [pytest's arguments]`: pytest in a process that gevent has patched, as a worker is."""

from __future__ import annotations

import sys

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()
    import pytest

    sys.exit(pytest.main(sys.argv[1:] or ["tests/core"]))
