"""So many requests a second with one key, at fixed times: `python -m tests.acceptance.paced PORT KEY PER_SECOND SECONDS`.

A process of its own, so that it keeps its pace beside a test. It prints what came of them as JSON: how many were
`let_through`, `refused` (429) and `lost` with their connection, in how many `seconds`, and by how many seconds the `latest`
answer came after its request was due.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter

CONNECTIONS = 32  # enough that every worker has some
ANSWER_S = 30
CONNECT_TRIES = 100


async def run(port: int, key: str, per_s: float, seconds: float) -> dict[str, float]:
    """The counts."""
    seen: Counter[str] = Counter(let_through=0, refused=0, lost=0)
    late_s = [0.0]
    request = f"GET /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    began = time.monotonic()
    every_s, end = CONNECTIONS / per_s, began + seconds
    await asyncio.gather(*(_client(port, request, began + n / per_s, every_s, end, seen, late_s) for n in range(CONNECTIONS)))
    return {**seen, "seconds": time.monotonic() - began, "latest": max(late_s)}


async def _client(
    port: int, request: bytes, due: float, every_s: float, end: float, seen: Counter[str], late_s: list[float]
) -> None:
    connection = None
    while due < end:
        await asyncio.sleep(due - time.monotonic())
        connection = connection or await _connect(port)
        try:
            status, goes_on = await asyncio.wait_for(_exchange(*connection, request), ANSWER_S)
        except (OSError, asyncio.IncompleteReadError):
            seen["lost"] += 1
            goes_on = False
        else:
            seen["refused" if status == 429 else "let_through"] += 1
        if not goes_on:
            connection[1].close()
            connection = None
        late_s.append(time.monotonic() - due)
        due += every_s
    if connection is not None:
        connection[1].close()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    for _ in range(CONNECT_TRIES):
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[int, bool]:
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = head.partition("content-length: ")[2].partition("\r\n")[0]
    await reader.readexactly(int(length or 0))
    status = int(head.split()[1])
    if status not in (200, 429):
        raise SystemExit(f"neither let through nor refused:\n{head}")
    return status, "connection: close" not in head


if __name__ == "__main__":
    port, key, per_s, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(run(int(port), key, float(per_s), float(seconds)))))
