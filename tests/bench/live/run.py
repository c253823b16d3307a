"""One run: server, clients, posting, the restart in the middle, and what came of it."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.live.clients import Figures, main
from tests.bench.resident import resident_mib
from tests.client import HttpClient
from tests.serving import Serve, wait_until

PROCESSES = 2  # of clients
POSTERS = 4
CATCH_UP_S = 3.0  # for the last client that is back
PATIENCE_S = 90.0  # for all to come to the end of the log


@dataclass(frozen=True)
class Options:
    """See the command's options."""

    clients: int
    stalled: float
    rate: float
    seconds: float
    workers: int = 2
    accounts: int = 1
    settings: dict[str, str] = field(default_factory=dict)


@dataclass
class Report:
    """What came of it. Delays in milliseconds; memory in MiB, of the greatest worker."""

    events: int = 0
    deliveries: int = 0
    gaps: int = 0
    duplicates: int = 0
    unfinished: int = 0
    quiet_ms: dict[str, float] = field(default_factory=dict)
    all_ms: dict[str, float] = field(default_factory=dict)
    stopped_s: float = 0.0
    served_s: float = 0.0
    resumed_s: float = 0.0
    resumed: int = 0
    endings: dict[str, int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, list[float]] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether every client was told everything once, and came to the end."""
        return self.gaps == self.duplicates == self.unfinished == 0

    def __str__(self) -> str:
        lines = [
            f"events {self.events}, deliveries {self.deliveries}",
            f"gaps {self.gaps}, duplicates {self.duplicates}, clients that did not come to the end {self.unfinished}",
            f"delay in the quiet part, ms: {self.quiet_ms}",
            f"delay in all, ms: {self.all_ms}",
            f"seconds after the stop: ended {self.stopped_s:.1f}, served again {self.served_s:.1f}, all back"
            f" {self.resumed_s:.1f}",
            f"resumed {self.resumed} times; ended by {self.endings}",
            f"refused {self.refused}",
            f"processor of the workers before the stop: {self.cpu}",
            f"memory of the greatest worker, MiB: {self.memory_mib}",
        ]
        return "\n".join(lines)


def run(options: Options, database_url: str | None = None) -> Report:
    """Run it, on an embedded PostgreSQL unless told otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="ledgerd-live-"))
    folder.chmod(0o755)
    settings = {
        "LEDGERD_WORKERS": str(options.workers), "LEDGERD_LOG_LEVEL": "warning", "LEDGERD_LIVE_CLIENTS": str(options.clients),
        **({"DATABASE_URL": database_url} if database_url else {}), **options.settings,
    }
    try:
        with Serve(folder, **settings).wait_ready() as server:
            key = server.key()
            world = _World(server.port, key, options)
            return _Run(options, world, server, lambda: Serve(folder, server.port, **settings)).run()
    finally:
        shutil.rmtree(folder)


class _World:
    """The accounts, and the log."""

    def __init__(self, port: int, key: str, options: Options) -> None:
        self.port, self.key = port, key
        client = HttpClient(port, key)
        account = {"asset": "USD/2", "min_balance": None}
        made = [client.call("POST", "/api/accounts", account) for _ in range(options.accounts + 1)]
        self.sink, *self.sources = (int(reply.json["id"]) for reply in made)
        client.close()
        self.start = max(event_id for event_id, _ in self.log())

    def log(self) -> list[tuple[int, int]]:
        """Every event: its id, and the account that was debited (or opened)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", "/api/events?after=0&follow=false", headers={"Authorization": f"Bearer {self.key}"})
        found = []
        for line in connection.getresponse():
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                transfer = event["data"].get("transfer")
                found.append((event["id"], transfer["from_account_id"] if transfer else 0))
        connection.close()
        return found


class _Run:
    def __init__(self, options: Options, world: _World, server: Serve, again: Callable[[], Serve]) -> None:
        self._options = options
        self._world = world
        self._server = server
        self._again = again
        self._stop = threading.Event()
        self._memory: dict[str, list[float]] = {"before": [], "after": []}
        self._cpu: dict[str, float] = {}
        self._stopped_at = self._ended_at = self._served_at = 0.0

    def run(self) -> Report:
        """All of it."""
        options = self._options
        with self._clients() as pipes:
            _say("the clients connect")
            wait_until(lambda: sum(_ask(pipe, "open") for pipe in pipes) == options.clients, 120, every_s=0.5)
            _say("all are there: load")
            threads = [threading.Thread(target=self._post, args=(n,)) for n in range(POSTERS)]
            for thread in threads:
                thread.start()
            try:
                self._cpu = self._measure(pipes, lambda: self._load("before", self._server, options.seconds / 2))
                _say("stop")
                self._stopped_at = time.time()
                assert self._server.stop() == 0, self._server.log.read_text()
                self._ended_at = time.time()
                with self._again() as second:
                    second.wait_ready()
                    self._served_at = time.time()
                    _say("served again: load")
                    self._load("after", second, options.seconds / 2)
                    self._stop.set()
                    for thread in threads:
                        thread.join()
                    _say("the end: all read what they have not read")
                    log = self._world.log()
                    last_ids = {0: log[-1][0]} | {account_id: event_id for event_id, account_id in log if account_id}
                    return self._report(log, [_end(pipe, last_ids) for pipe in pipes])
            finally:
                self._stop.set()
                for thread in threads:
                    thread.join()

    def _measure(self, pipes: list[Any], load: Callable[[], None]) -> dict[str, float]:
        """What the workers use of the processor during `load`: of a core, and for each event that a client took."""
        workers = self._server.workers()
        began, cpu_s, events = time.monotonic(), sum(map(_cpu_s, workers)), sum(_ask(pipe, "events") for pipe in pipes)
        load()
        cpu_s, events = sum(map(_cpu_s, workers)) - cpu_s, sum(_ask(pipe, "events") for pipe in pipes) - events
        return {"cores": round(cpu_s / (time.monotonic() - began), 2), "us an event": round(cpu_s * 1e6 / max(events, 1), 2)}

    @contextmanager
    def _clients(self) -> Iterator[list[Any]]:
        context, options = multiprocessing.get_context("spawn"), self._options
        pipes, processes = [], []
        for number in range(PROCESSES):
            ours, theirs = context.Pipe()
            asked = {
                "port": self._world.port, "key": self._world.key, "number": options.clients // PROCESSES,
                "start": self._world.start, "stalled": options.stalled, "ramp_s": options.clients / 400,
                "accounts": self._world.sources if options.accounts > 1 else (), "seed": number,
            }
            process = context.Process(target=main, args=(theirs, asked))
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        try:
            yield pipes
        finally:
            for process in processes:
                process.join(5)
                process.kill()
                process.join()

    def _post(self, number: int) -> None:
        """Post its share of the transfers at fixed times; what fails in the restart is left out."""
        client, sources = HttpClient(self._world.port, self._world.key), self._world.sources
        due, count, body = time.monotonic(), number, {"to_account_id": self._world.sink, "amount": 1, "reference": "live " * 8}
        while not self._stop.is_set():
            due += POSTERS / self._options.rate
            count += POSTERS
            with suppress(OSError, http.client.HTTPException):
                client.call("POST", "/api/transfers", {**body, "from_account_id": sources[count % len(sources)]})
            self._stop.wait(max(due - time.monotonic(), 0.0))
            due = max(due, time.monotonic() - 1.0)
        client.close()

    def _load(self, part: str, server: Serve, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(OSError):
                self._memory[part].append(max(map(resident_mib, server.workers())))
            self._stop.wait(min(1.0, max(end - time.monotonic(), 0.0)))

    def _report(self, log: list[tuple[int, int]], told: Sequence[tuple[Figures, list[Any]]]) -> Report:
        report, delays = Report(events=len(log)), []
        endings: Counter[str] = Counter()
        for figures, clients in told:
            report.deliveries += figures.events
            report.duplicates += figures.duplicates
            report.resumed += figures.resumed
            endings += figures.endings
            report.refused = dict(Counter(report.refused) + figures.refused)
            delays += figures.delays
            for account_id, start, last_id, count, total in clients:
                ids = [event_id for event_id, of in log if event_id > start and account_id in (0, of)]
                report.unfinished += last_id != ids[-1]
                report.gaps += (count, total) != (len(ids), sum(ids))
        report.endings = dict(endings)
        report.stopped_s, report.served_s = self._ended_at - self._stopped_at, self._served_at - self._stopped_at
        back_at = max(figures.resumed_at for figures, _ in told)
        report.resumed_s = back_at - self._stopped_at
        report.all_ms = _spread([late for _, late in delays])
        report.quiet_ms = _spread([late for at, late in delays if not self._stopped_at <= at <= back_at + CATCH_UP_S])
        report.cpu = self._cpu
        report.memory_mib = {part: [round(min(s), 1), round(s[-1], 1)] for part, s in self._memory.items() if s}
        return report


def _say(what: str) -> None:
    print(time.strftime("%H:%M:%S"), what, file=sys.stderr, flush=True)


def _cpu_s(pid: int) -> float:
    """Seconds of the processor that it has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ask(pipe: Any, word: str) -> int:
    pipe.send((word, None))
    return int(pipe.recv())


def _end(pipe: Any, last_ids: dict[int, int]) -> Any:
    pipe.send(("end", (last_ids, PATIENCE_S)))
    return pipe.recv()


def _spread(seconds: list[float]) -> dict[str, float]:
    """Half, 99 % and the greatest, in milliseconds."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    return {name: round(ordered[int(share * (len(ordered) - 1))] * 1000, 1) for name, share in at.items()} | {
        "most": round(ordered[-1] * 1000, 1)
    }
