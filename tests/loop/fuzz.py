"""`make fuzz`: mutated requests, against gunicorn's own worker, for as long as it is told.

    python -m tests.loop.fuzz [--seconds 600] [--seed N]

Each mutation begins with requests of the corpus and cuts, doubles, swaps and spoils parts of them. The same bytes go to both
workers; the answers and the end of the connection must be the same, but that in ours half a body has no effect, a request
that has been answered gets no second answer for its malformed rest, and a compressed body is refused. There must be an end,
and at last nothing may be left open in ours. The first difference ends it, with its bytes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from tests.loop.conftest import GUNICORNS, OURS, Server, served
from tests.loop.corpus import CASES
from tests.loop.exchange import PROBE, exchange
from tests.loop.test_corpus import STRICTER, told
from tests.serving import wait_until

SEEDS = [case for name, case in CASES.items() if name not in STRICTER and len(case) < 10_000]
SPICE = (
    *(bytes([byte]) for byte in b"\r\n \t:\x00\xff,;05-_%/?#"),
    b"\r\n", b"\r\n\r\n", b"chunked", b"HTTP/1.1", b"Host: a\r\n", b"Content-Length: 5\r\n", b"Connection: close\r\n",
    b"Transfer-Encoding: chunked\r\n",
)


def mutated(random: Random) -> bytes:
    """One or two requests of the corpus, changed in a few places."""
    data = bytearray(b"".join(random.choices(SEEDS, k=random.choice((1, 1, 2)))))
    for _ in range(random.randrange(1, 6)):
        at, length = random.randrange(len(data) + 1), random.choice((1, 1, 2, 5, 20))
        kind = random.randrange(5)
        if kind == 0:
            del data[at : at + length]
        elif kind == 1:
            data[at:at] = random.choice(SPICE)
        elif kind == 2:
            data[at:at] = data[at : at + length]
        elif kind == 3:
            data[at : at + 1] = bytes([random.randrange(256)])
        else:
            data[at : at + length] = random.choice(SPICE)
    return bytes(data)


def differs(ours: Server, gunicorns: Server, request: bytes) -> str | None:
    """How the two workers differ over `request`, None where they agree. A shared wait for an answer has a bound."""
    pieces = [request + PROBE]
    theirs, mine = ([told(reply) for reply in exchange(server.port, pieces)] for server in (gunicorns, ours))
    if mine == theirs or (theirs and mine == theirs[:-1] and (_is_cut(request, theirs[-1]) or _is_late(request, theirs[-1]))):
        return None
    if mine and mine[-1][0] == 501 and mine[:-1] == theirs[: len(mine) - 1]:
        return None
    return f"{request!r}\nours:      {mine}\ngunicorn's: {theirs}"


def _is_cut(request: bytes, answer: Any) -> bool:
    """Whether `answer` is gunicorn's to a request whose body ended before its length (see STRICTER)."""
    lengths = re.findall(rb"(?i)content-length:[ \t]*(\d+)", request)
    if any(int(length) > len(request) for length in lengths):
        return True
    told_of = answer[2]
    return isinstance(told_of, dict) and len(told_of.get("body", "")) < int(told_of.get("CONTENT_LENGTH") or 0)


def _is_late(request: bytes, answer: Any) -> bool:
    """Whether `answer` is gunicorn's second one to a request: its chunks, which nobody read, are malformed."""
    return answer[0] == 400 and b"chunked" in request.lower()


def fuzz(ours: Server, gunicorns: Server, seed: int, number: int | None, seconds: float) -> tuple[int, str | None]:
    """Up to `number` mutations, for up to `seconds`: how many there were, and the first difference."""
    random, end, done = Random(seed), time.monotonic() + seconds, 0
    while time.monotonic() < end and done != number:
        done += 1
        if difference := differs(ours, gunicorns, mutated(random)):
            return done, difference
        if done % 500 == 0:
            print(f"\r{done} mutations, no difference", end="", flush=True, file=sys.stderr)
    return done, None


def main() -> int:
    """Fuzz; 1 after a difference. Raises AssertionError where something is left open."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="for how long (default 600)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeat a run")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(OURS, Path(folder, "ours")) as ours,
        served(GUNICORNS, Path(folder, "gunicorns")) as gunicorns,
    ):
        before = ours.descriptors()
        done, difference = fuzz(ours, gunicorns, options.seed, None, options.seconds)
        print(f"\nseed {options.seed}: {done} mutations, {difference or 'no difference'}")
        wait_until(lambda: ours.descriptors() <= before, 10, lambda: "descriptors are left open")
    return int(difference is not None)


if __name__ == "__main__":
    sys.exit(main())
