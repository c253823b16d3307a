"""Buckets that several real processes take from at once: counted exactly, whoever of them stands still or dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.limits.bucket import Limit
from service.limits.file import BucketFile
from service.limits.table import Table
from tests.serving import clean_env, wait_until

SLOW = 0.02  # tokens a second: hardly one flows in while a test runs
TAKER = """
import hashlib, sys
from pathlib import Path
from service.limits.bucket import Limit
from service.limits.file import BucketFile
from service.limits.table import Table

table = Table(BucketFile(Path(sys.argv[1])))
limit = Limit(float(sys.argv[2]), int(sys.argv[3]))
print("ready", flush=True)
sys.stdin.readline()
taken = 0
for _ in range(int(sys.argv[4])):
    taken += table.take("shared", limit)[0]
    hashlib.sha256(bytes(16384)).digest()  # some 20 microseconds: what else a request costs, at the least
print(taken, table.unlocked, flush=True)
"""
HOLDER = """
import sys
from pathlib import Path
from service.limits.file import BucketFile
from service.limits.table import Table

table = Table(BucketFile(Path(sys.argv[1])))
assert table._try_lock(table._place("shared"))
print("holds", flush=True)
sys.stdin.readline()
table._unlock(table._place("shared"))
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a program on the test's folder and waits for its first line; ends it afterwards."""
    with ExitStack() as stack:

        def start_one(program: str, *arguments: object) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", program, str(tmp_path), *map(str, arguments)],
                    env=clean_env(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline()
            return process

        yield start_one


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    """The test's own process has the file open too."""
    made = Table(BucketFile(tmp_path))
    yield made
    made.close()


def run_all(takers: list[subprocess.Popen[str]]) -> tuple[int, int]:
    """Let them go at once: the tokens that they got, and how often they went without the lock."""
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("\n")
        taker.stdin.flush()
    counts = [list(map(int, taker.communicate(timeout=60)[0].split())) for taker in takers]
    return sum(taken for taken, _ in counts), sum(unlocked for _, unlocked in counts)


def test_four_processes_share_one_burst(start: Start) -> None:
    """A small bucket is counted under the lock; what is counted without it, where it was held, stays below five per cent."""
    taken, unlocked = run_all([start(TAKER, SLOW, 120, 1000) for _ in range(4)])
    assert 120 <= taken <= 121 + min(unlocked, 6)


def test_four_processes_share_one_large_burst(start: Start) -> None:
    """Of a large one each counts up to a 128th by itself."""
    taken, _ = run_all([start(TAKER, 0.5, 40_000, 30_000) for _ in range(4)])
    assert 40_000 <= taken <= 42_000


def test_a_holder_that_is_stopped_holds_up_nobody(start: Start, table: Table) -> None:
    """Decisions go on without the lock, and are counted; the limit holds, and the lock is there again afterwards."""
    holder = start(HOLDER)
    holder.send_signal(signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{holder.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", 10)
    began = time.monotonic()
    assert sum(table.take("shared", Limit(SLOW, 20))[0] for _ in range(1000)) == 20
    assert time.monotonic() - began < 30, "somebody waited for a process that stands still"
    assert table.unlocked == 1000
    holder.send_signal(signal.SIGCONT)
    holder.communicate("\n", timeout=30)
    assert not table.take("shared", Limit(SLOW, 20))[0]
    assert table.unlocked == 1000


def test_the_lock_of_a_killed_holder_is_gone(start: Start, table: Table) -> None:
    """The kernel takes it back."""
    holder = start(HOLDER)
    assert table.take("shared", Limit(1, 2))[0]
    assert table.unlocked == 1
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(30)
    assert table.take("shared", Limit(1, 2))[0]
    assert table.unlocked == 1


def test_processes_that_start_at_once_make_one_file(start: Start, tmp_path: Path) -> None:
    """Also where they find a broken one: whoever replaces it is alone in that."""
    (tmp_path / "limits").write_bytes(b"broken")
    program = TAKER.replace('table = Table', 'print("imported", flush=True); sys.stdin.readline(); table = Table')
    takers = [start(program, SLOW, 100, 100) for _ in range(4)]
    for taker in takers:
        assert taker.stdin is not None
        assert taker.stdout is not None
        taker.stdin.write("\n")
        taker.stdin.flush()
    for taker in takers:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "ready\n"
    taken, unlocked = run_all(takers)
    assert 100 <= taken <= 100 + min(unlocked, 5)
