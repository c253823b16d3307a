"""Thousands of requests whose time is up, or whose client leaves, at every moment of their way: nothing is left of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from service.app import Application
from tests.chaos.cancellations import Left, Run
from tests.chaos.conftest import FULL
from tests.client import ApiClient
from tests.core.leaks import snapshot
from tests.invariants import check_invariants
from tests.serving import ROOT, clean_env

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

REQUESTS = 10_000 if FULL else 1_000


def check(left: Left, application: Application, key: str, database_url: str) -> None:
    """Assert that nothing is left, and that what is in doubt is posted once when it is asked for again."""
    print(f"\n{left.seconds:.1f} s, {left.answers}")
    assert left.wrong == []
    nothing = (left.overdue, left.running, left.descriptors, left.threads, left.sessions, left.lost_connections)
    assert nothing == (0,) * 6, left
    assert sum(left.answers.values()) == REQUESTS
    api = ApiClient(application, key)
    replies = [(name, api.post("/api/transfers", body, Idempotency_Key=name)) for name, body in left.in_doubt]
    assert {reply.status for _, reply in replies} <= {200, 201}
    ids = {**left.posted, **{name: reply.json["id"] for name, reply in replies}}
    assert len(set(ids.values())) == len(ids) == check_invariants(database_url)


def test_nothing_is_left_of_cancelled_requests(application: Application, key: str, database_url: str) -> None:
    """On threads: no connection, descriptor, thread or statement, and no statement outlives its deadline by a second."""
    before = snapshot()
    left = Run(database_url, key, REQUESTS).run()
    assert before.left_behind() == []
    check(left, application, key, database_url)


def test_nothing_is_left_of_cancelled_requests_on_greenlets(application: Application, key: str, database_url: str) -> None:
    """The same in a process that gevent has patched."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.cancellations", database_url, key, str(REQUESTS)],
        cwd=ROOT, env=clean_env(), capture_output=True, text=True, timeout=280, check=False,
    )
    assert done.returncode == 0, done.stderr
    check(Left(**json.loads(done.stdout.splitlines()[-1])), application, key, database_url)
