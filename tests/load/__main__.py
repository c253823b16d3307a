"""Load from many simulated clients, by Locust: `make load PROFILE=steady` starts ledgerd, loads it, and judges.

    python -m tests.load PROFILE [--users N] [--seconds S] [--per-user N] [--web] [--host URL] [--locust PROGRAM]

Without --host it starts a `ledgerd serve` of its own with an embedded PostgreSQL in a temporary folder; with it the load goes
to one that runs, by the key in LEDGERD_KEY: only ever to your own. It opens accounts of its own there and moves money between
them. --web serves Locust's page on 127.0.0.1:8089 instead of ending by itself: users can be added there while it runs, and
Ctrl-C ends it.

By operation, a report to read (HTML) and one to reckon with (CSV) are in build/load/. Status 1 where a bound of the profile
was not kept, where the books do not balance afterwards, or where a worker's memory grew by over a tenth after the first fifth.

Locust patches the whole process that imports it, so it is a program of its own here, and nothing that pytest collects may
import this folder's other modules.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.resident import Watched
from tests.serving import ROOT, Serve

PAGE = "127.0.0.1:8089"
RAMP_STEPS = 6


@dataclass(frozen=True)
class Profile:
    """How many users, how many come a second, for how long; and how its own server is set."""

    what: str
    users: int
    spawn: int
    seconds: int
    settings: dict[str, str] = field(default_factory=dict)
    shaped: bool = False  # by the profile itself


PROFILES = {
    "steady": Profile("mixed traffic", users=50, spawn=10, seconds=60),
    "hot": Profile("everybody pays one account", users=63, spawn=20, seconds=60),
    "bulk": Profile("bulk requests beside single transfers", users=42, spawn=20, seconds=60),
    "ramp": Profile("twice the users each step, to overload", 0, 0, 60, {"LEDGERD_POSTING_QUEUE": "32"}, shaped=True),
    "soak": Profile("mixed traffic for long", users=25, spawn=5, seconds=3600),
}


def load(name: str, options: argparse.Namespace) -> int:
    """Start what is needed, run Locust to its end, look at the books and the memory. The exit status."""
    profile = PROFILES[name]
    with ExitStack() as stack:
        served = watched = None
        host, key = options.host, os.environ.get("LEDGERD_KEY", "")
        if host is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ledgerd-load-")))
            folder.chmod(0o755)
            served = stack.enter_context(Serve(folder, LEDGERD_LOG_LEVEL="warning", **profile.settings)).wait_ready()
            host, key = f"http://127.0.0.1:{served.port}", served.key("admin")
            watched = stack.enter_context(Watched(served.workers()))
        status = subprocess.run(command(name, host, options), env=environment(key, options), cwd=ROOT, check=False).returncode
        if served is None or watched is None:
            return status
        print(watched)
        grown = [] if options.lenient else watched.grown()
        if grown:
            print("\n".join(grown))
        verified = served.command("verify")
        print(f"ledgerd verify: {'the books are in order' if verified.returncode == 0 else verified.stdout + verified.stderr}")
        return int(bool(status or grown or verified.returncode))


def command(name: str, host: str, options: argparse.Namespace) -> list[str]:
    """Locust's."""
    profile, out = PROFILES[name], ROOT / "build" / "load"
    out.mkdir(parents=True, exist_ok=True)
    reports = ["--html", str(out / f"{name}.html"), "--csv", str(out / name)]
    made = [options.locust, "-f", f"tests/load/{name}.py", "--host", host, *reports]
    if not profile.shaped:
        users = options.users or profile.users
        made += ["--users", str(users), "--spawn-rate", str(max(1, users // 3) if options.users else profile.spawn)]
    if options.web:
        address, port = PAGE.split(":")
        print(f"Locust's page: http://{PAGE}", flush=True)
        return [*made, "--web-host", address, "--web-port", port, "--autostart"]
    seconds = [] if profile.shaped else ["--run-time", f"{options.seconds or profile.seconds}s"]
    return [*made, *seconds, "--headless", "--only-summary", "--stop-timeout", "10"]


def environment(key: str, options: argparse.Namespace) -> dict[str, str]:
    """Locust's: the key, and the pace; for a ramp, what --seconds means for its steps."""
    made = {**os.environ, "LEDGERD_KEY": key, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    if options.lenient:
        made["LOAD_LENIENT"] = "1"
    if options.per_user:
        made["LOAD_PER_USER"] = str(options.per_user)
    if options.seconds:
        made["LOAD_STEP_S"] = str(options.seconds / RAMP_STEPS)
    return made


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = "; ".join(f"{name}: {profile.what}, {profile.seconds} s" for name, profile in PROFILES.items())
    parser.add_argument("profile", choices=PROFILES, help=what)
    parser.add_argument("--users", type=int, help="instead of the profile's")
    parser.add_argument("--seconds", type=int, help="instead of the profile's")
    parser.add_argument("--per-user", type=float, help="what a user begins in a second (default 4; 5 in a ramp)")
    parser.add_argument("--lenient", action="store_true", help="fail for failures and wrong books alone: for short runs in CI")
    parser.add_argument("--web", action="store_true", help="with Locust's page, until Ctrl-C")
    parser.add_argument("--host", help="a ledgerd of yours that runs, such as http://127.0.0.1:8080; with LEDGERD_KEY")
    parser.add_argument("--locust", default="locust", help="the program (default: by PATH)")
    options = parser.parse_args()
    if shutil.which(options.locust) is None:
        print("this needs Locust: run `make load`", file=sys.stderr)
        return 2
    if options.host and not os.environ.get("LEDGERD_KEY"):
        print("LEDGERD_KEY is not set: an API key that may write users, accounts and transfers there", file=sys.stderr)
        return 2
    try:
        return load(options.profile, options)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
