"""Fail where a change costs more processor time than its parent: `make regress`, and a part of .ci/run.

    python -m tests.bench.regress [--base REVISION] [--seconds 60] [--bound 1.10] [--json FILE]

The parent's files are taken out of git into a temporary folder. Both serve with one worker each, on databases of their own
on one PostgreSQL, and get the same requests of the hot paths in turns, one by one. What is compared is no time that passed:
it is the processor time that each request took of the worker, as the kernel counts it, and of PostgreSQL's processes; and
of hundreds of measurements the lower quartile. Other work on the machine makes both dearer alike, request by request. A
process may be unlucky as a whole with where its memory lies, so both are started anew several times; where a bound is
exceeded they are started again, until it is not or the time is up.

The base is the parent of the last commit that changed what runs, so a change of the documentation hides nothing.
Status 1 where a case costs more than --bound times what it did, and no commit since the base has a line
`Dearer: CASE: REASON` in its message.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

from tests.bench.posting import server
from tests.bench.regress.cases import CASES, Side, measure
from tests.bench.regress.verdict import Measurements, accepted, table, too_dear
from tests.serving import ROOT, Serve

WHAT_RUNS = ("service", "sql", "wsgi.py")
SIDES = ("parent", "change")
LAUNCHES = 3  # at least, unless the time is up
FEWEST = 2  # launches that are judged by
ROUNDS = 12  # of each case in a launch
SETTINGS = {"LEDGERD_WORKERS": "1", "LEDGERD_LOG_LEVEL": "warning", "LEDGERD_SEAL_INTERVAL_S": "0"}


def git(*arguments: str) -> str:
    """What git says. Raises CalledProcessError."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def find_base() -> str | None:
    """The parent of what changed last, or HEAD where that is not committed; None where there is none in this clone."""
    try:
        if git("status", "--porcelain", "--", *WHAT_RUNS):
            return git("rev-parse", "HEAD")
        last = git("log", "-1", "--first-parent", "--format=%H", "--", *WHAT_RUNS)
        return git("rev-parse", "--verify", f"{last}^1")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None


def take_out(revision: str, folder: Path) -> None:
    """The files that run, as they were."""
    done = subprocess.run(["git", "archive", revision, *WHAT_RUNS], cwd=ROOT, capture_output=True, check=True)
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-x", "-C", folder], input=done.stdout, check=True)  # tarfile's filters are not in Python 3.11.2


class Comparison:
    """Both sides, each with its files, its database and its key; and what was found so far."""

    def __init__(self, base: str, folder: Path, url: str) -> None:
        self._folder = folder
        self._trees = {"parent": folder / "parent-files", "change": ROOT}
        take_out(base, self._trees["parent"])
        with psycopg.connect(url.replace("ledgerd@/ledgerd", "postgres@/postgres"), autocommit=True) as conn:
            for side in SIDES:
                conn.execute(f"CREATE DATABASE {side} OWNER ledgerd")
        self._urls = {side: url.replace("@/ledgerd", f"@/{side}") for side in SIDES}
        self._keys: dict[str, str] = {}
        self.found = {side: Measurements() for side in SIDES}

    def launch(self, until: float) -> None:
        """Start both, measure ROUNDS times or until the time is up, stop both."""
        with ExitStack() as stack:
            served = {side: stack.enter_context(self._serve(side)) for side in SIDES}
            sides = [self._ready(side, served[side]) for side in SIDES]
            for number in range(ROUNDS):
                self._measure(sides if number % 2 else sides[::-1])
                if time.monotonic() > until:
                    break
            for side in sides:
                side.client.close()
                side.served.process.terminate()  # both end at once; they are waited for by the stack

    def _serve(self, side: str) -> Serve:
        place = {"PYTHONPATH": str(self._trees[side]), "PYTHONSAFEPATH": "1", "DATABASE_URL": self._urls[side]}
        return Serve(self._folder / side, **SETTINGS, **place)

    def _ready(self, side: str, served: Serve) -> Side:
        served.wait_ready()
        if side not in self._keys:
            self._keys[side] = served.key("admin")
        made = Side(side, served, self._keys[side], self._urls[side])
        for case in CASES:  # warm
            case.send(made)
        return made

    def _measure(self, sides: list[Side]) -> None:
        backends = {side.name: side.backends() for side in sides}
        for case in CASES:
            for side in sides * case.number:
                worker, database = measure(case, side, backends[side.name])
                self.found[side.name].keep(case.what, worker)
                self.found[side.name].keep(f"{case.what}: PostgreSQL", database)


def compare(base: str, options: argparse.Namespace) -> tuple[dict[str, Measurements], int]:
    """What was measured on either side, and how often both were started for it."""
    until = time.monotonic() + options.seconds
    with tempfile.TemporaryDirectory(prefix="ledgerd-regress-") as name, server() as (postgres, _):
        both, launches = Comparison(base, Path(name), postgres.url), 0
        found = both.found
        while launches < LAUNCHES or too_dear(found["parent"], found["change"], options.bound):
            if launches and time.monotonic() > until:
                break
            both.launch(until)
            launches += 1
    return found, launches


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="the revision to compare with (default: the parent of the last change of what runs)")
    parser.add_argument("--seconds", type=float, default=60, help="for all of it, but for the last stop (default 60)")
    parser.add_argument("--bound", type=float, default=1.10, help="the most times its parent's cost (default 1.10)")
    parser.add_argument("--json", type=Path, help="also write the microseconds here")
    options = parser.parse_args()
    base = options.base or find_base()
    if base is None:
        print("NOT RUN: the change beside its parent, since this checkout knows no parent")
        return 0
    print(f"beside {git('log', '-1', '--format=%h %s', base)}")
    found, launches = compare(base, options)
    print(table(found["parent"], found["change"]))
    if options.json:
        options.json.write_text(json.dumps({name: side.us for name, side in found.items()}) + "\n")
    if launches < FEWEST:
        print(f"NOT RUN: a judgement; this machine is so busy that both were started only {launches} times")
        return 0
    dear = too_dear(found["parent"], found["change"], options.bound)
    reasons = accepted(git("log", "--format=%B", f"{base}..HEAD"))
    for what, ratio in dear.items():
        why = reasons.get(what.partition(": PostgreSQL")[0])
        verdict = f"accepted: {why}" if why else f"the bound is {options.bound:.2f}"
        print(f"{what}: {ratio:.2f} times its parent's cost; {verdict}")
    return int(any(what.partition(": PostgreSQL")[0] not in reasons for what in dear))


if __name__ == "__main__":
    sys.exit(main())
