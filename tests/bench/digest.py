"""`ledgerd digest` beside `find | xargs -P sha256sum`, in turns on the same tree, its pages in memory.

    python -m tests.bench.digest [--small 10000] [--large 20] [--large-mb 50] [--rounds 5] [--json]

Small files have 4 KiB. Each measurement is a whole process, with its start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.serving import LEDGERD, clean_env

JOBS = "2"
OTHER = f"find . -type f -print0 | xargs -0 -P{JOBS} -n64 sha256sum"


def make_tree(folder: Path, small: int, large: int, large_mb: int) -> None:
    """`small` files, a hundred a folder, and `large` ones of random bytes."""
    for number in range(small):
        below = folder / f"d{number // 100}"
        below.mkdir(exist_ok=True)
        (below / f"f{number}").write_bytes(os.urandom(4096))
    for number in range(large):
        with (folder / f"large{number}").open("wb") as file:
            for _ in range(large_mb):
                file.write(os.urandom(1 << 20))


def seconds(command: list[str], folder: Path) -> tuple[float, list[bytes]]:
    """How long a command takes in `folder`, and the lines that it prints, sorted."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=clean_env(), capture_output=True, check=True)
    return time.perf_counter() - began, sorted(line.replace(b"  ./", b"  ") for line in done.stdout.splitlines())


def main() -> int:
    """Print the medians and the ratio: above 1, `ledgerd digest` is the faster one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000, help="files of 4 KiB (default 10,000)")
    parser.add_argument("--large", type=int, default=20, help="large files (default 20)")
    parser.add_argument("--large-mb", type=int, default=50, help="MiB of each (default 50)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    ours, theirs = [*LEDGERD, "digest", ".", "--jobs", JOBS], ["sh", "-c", OTHER]
    pairs = []
    with tempfile.TemporaryDirectory(prefix="ledgerd-bench-") as name:
        folder = Path(name)
        make_tree(folder, options.small, options.large, options.large_mb)
        assert seconds(ours, folder)[1] == seconds(theirs, folder)[1], "the two disagree"
        for number in range(options.rounds):
            figures = {id(command): seconds(command, folder)[0] for command in ((ours, theirs), (theirs, ours))[number % 2]}
            pairs.append((figures[id(ours)], figures[id(theirs)]))
    mine, other = (median(pair[side] for pair in pairs) for side in (0, 1))
    ratios = [theirs_s / mine_s for mine_s, theirs_s in pairs]
    if options.json:
        print(json.dumps({"digest_s": mine, "sha256sum_s": other, "ratio": median(ratios), "ratios": ratios}, indent=2))
        return 0
    print(f"ledgerd digest    {mine:8.3f} s")
    print(f"xargs sha256sum   {other:8.3f} s")
    print(f"ratio             {median(ratios):8.2f}   (median of {len(pairs)} pairs: {', '.join(f'{r:.2f}' for r in ratios)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
