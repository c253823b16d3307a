"""`make race`: the stress tests again and again for a minute, on threads and on greenlets, taking turns every microsecond.

    python -m tests.race [--seconds 60]

Each round is a process of its own, with `sys.setswitchinterval(1e-6)` and ten times the everyday size. The first failure ends
it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

MODES = {"threads": ["-m", "pytest"], "greenlets": ["-m", "tests.core.patched"]}
ROUND_TIMEOUT_S = 300


def main() -> int:
    """Run rounds in both modes, in turns, until the time is over; 1 after a failure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for how long new rounds are begun (default 60)")
    end = time.monotonic() + parser.parse_args().seconds
    env = {**os.environ, "LEDGERD_SWITCH_INTERVAL_S": "1e-6", "LEDGERD_STRESS": "10"}
    rounds = dict.fromkeys(MODES, 0)
    while time.monotonic() < end:
        for mode, how in MODES.items():
            done = subprocess.run(
                [sys.executable, *how, "tests/core", "-m", "stress", "-q"],
                env=env, capture_output=True, text=True, timeout=ROUND_TIMEOUT_S, check=False,
            )
            if done.returncode:
                print(f"{mode}, round {rounds[mode] + 1}:\n{done.stdout}{done.stderr}")
                return 1
            rounds[mode] += 1
            print(f"\rrounds without a failure: {rounds}", end="", flush=True, file=sys.stderr)
    print(f"\nno failure in {rounds['threads']} rounds on threads and {rounds['greenlets']} on greenlets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
