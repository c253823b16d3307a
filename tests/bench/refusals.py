"""Time each kind of refused API key on a running application: time must not tell which keys there are.

    python -m tests.bench.refusals --port 8080 --key "$(cat var/admin.key)" [--rounds 2000] [--json FILE]

The kinds take turns, in another order each round, over one connection. Printed are the median and the middle half of each, in
microseconds. The medians may differ by no more than two runs of one kind do (`truncated` is timed twice for that). Where
refusals are limited for an address, switch that limit off first, or it is what is measured.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.client import HttpClient


def tokens(admin: HttpClient) -> dict[str, str]:
    """A token of each kind; the keys behind them are made for it."""

    def make(**fields: Any) -> dict[str, Any]:
        reply = admin.call("POST", "/api/keys", {"scopes": ["read"], "name": "refusals", "expires_in_s": 3600, **fields})
        assert reply.status == 201, reply.body
        made: dict[str, Any] = reply.json
        return made

    good, expired, revoked = make(), make(expires_in_s=1), make()
    admin.call("DELETE", f"/api/keys/{revoked['id']}")
    time.sleep(2)
    key = good["key"]
    return {
        "malformed": "nonsense",
        "truncated": key[:-1],
        "truncated again": key[:-1],
        "unknown id": f"ldg_{random.randbytes(6).hex()}_{random.randbytes(32).hex()}",
        "wrong secret": key[:-64] + random.randbytes(32).hex(),
        "expired": expired["key"],
        "revoked": revoked["key"],
    }


def measure(port: int, kinds: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """The microseconds that each refusal took, by kind."""
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    with closing(HttpClient(port, None)) as client:
        for _ in range(rounds):
            for kind in random.sample(list(kinds), len(kinds)):
                began = time.perf_counter()
                reply = client.call("GET", "/api/users", Authorization=f"Bearer {kinds[kind]}")
                took[kind].append((time.perf_counter() - began) * 1e6)
                assert reply.status == 401, (kind, reply.status, reply.body)
    return took


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--key", required=True, help="an admin key")
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    options = parser.parse_args()
    with closing(HttpClient(options.port, options.key)) as admin:
        kinds = tokens(admin)
    took = measure(options.port, kinds, options.rounds)
    figures = {}
    for kind, times in took.items():
        low, middle, high = statistics.quantiles(times, n=4)
        figures[kind] = {"median_us": round(middle, 1), "quartiles_us": [round(low, 1), round(high, 1)]}
        print(f"{kind:16}  {middle:8.1f} µs   ({low:.1f} to {high:.1f})")
    medians = [figure["median_us"] for figure in figures.values()]
    print(f"{'all':16}  {max(medians) - min(medians):8.1f} µs between the least and the greatest median")
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
