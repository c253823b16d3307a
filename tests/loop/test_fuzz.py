"""A short run of the fuzzer; `make fuzz` is the long one."""

from __future__ import annotations

from tests.loop.conftest import Server
from tests.loop.fuzz import fuzz
from tests.serving import wait_until


def test_mutated_requests_are_answered_as_gunicorn_does(ours: Server, gunicorns: Server) -> None:
    """The same mutations in every run, and nothing is left open after them."""
    before = ours.descriptors()
    done, difference = fuzz(ours, gunicorns, seed=1, number=2000, seconds=60)
    assert difference is None
    assert done >= 200
    wait_until(lambda: ours.descriptors() <= before, 10)
