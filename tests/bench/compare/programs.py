"""The two programs, built and started as a user would, each with its own database on one PostgreSQL, and filled alike."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from tests.client import HttpClient
from tests.serving import Serve, free_port, http_status, wait_until

PEER = Path(__file__).resolve().parents[1] / "peer"
DEBIAN_GOPATH = Path("/usr/share/gocode")  # where golang-github-jackc-pgx-v4-dev puts its source
GO_PLACES = (Path("/usr/local/go/bin/go"), Path("/usr/lib/go/bin/go"), Path(sys.executable).with_name("go"))
CLIENTS = 16  # that fill a ledger at once


class BuildError(Exception):
    """The peer cannot be built here; the text says what to do."""


@dataclass(frozen=True)
class Program:
    """One that runs: its port, what the load needs to know of it, and ledgerd's workers."""

    name: str
    port: int
    environment: dict[str, str]
    workers: tuple[int, ...] = ()


def find_go(go: str | None) -> str:
    """The Go compiler: `go`, or where it usually is. Raises BuildError where it is not."""
    go = go or shutil.which("go") or next((str(path) for path in GO_PLACES if path.exists()), None)
    if go is None or shutil.which(go) is None:
        raise BuildError("this needs Go, to build a program; on Debian: apt install golang-go, or name it with --go")
    return go


def build_peer(go: str | None, folder: Path) -> tuple[Path, str]:
    """Compile the peer into `folder`; the program, and with which pgx. Raises BuildError.

    Modules are taken as go.mod pins them; where they cannot be had, pgx v4 as Debian packages it.
    """
    go, program = find_go(go), folder / "peer"
    done = subprocess.run([go, "build", "-o", program, "."], cwd=PEER, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return program, "pgx v5"
    source = folder / "peer-pgx-v4"
    source.mkdir()
    for file in PEER.glob("*.go"):
        (source / file.name).write_text(file.read_text().replace("jackc/pgx/v5", "jackc/pgx/v4"))
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": str(DEBIAN_GOPATH), "GOFLAGS": "", "GOCACHE": str(folder / "cache")}
    again = subprocess.run([go, "build", "-o", program, "."], cwd=source, env=env, capture_output=True, text=True, check=False)
    if again.returncode != 0:
        raise BuildError(
            f"the peer was not built: {done.stderr.strip()}\nand not from Debian's source either: {again.stderr.strip()}\n"
            "Without a module proxy: apt install golang-go golang-github-jackc-pgx-v4-dev"
        )
    return program, "pgx v4"


@contextmanager
def peer(program: Path, url: str, count: int) -> Iterator[Program]:
    """The peer on an empty database, with `count` users and as many accounts."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute((PEER / "schema.sql").read_text())
        conn.execute(
            "INSERT INTO users (name, email) SELECT 'user ' || n, 'user' || n || '@example.com' FROM generate_series(1, %s) n",
            (count,),
        )
        conn.execute("INSERT INTO accounts (balance) SELECT 0 FROM generate_series(1, %s)", (count,))
        conn.execute("VACUUM ANALYZE")
    port = free_port()
    with subprocess.Popen([program, "-database", url, "-address", f"127.0.0.1:{port}"]) as process:
        try:
            wait_until(lambda: http_status(f"http://127.0.0.1:{port}/api/users/1") == 200, 30, lambda: "the peer is silent")
            yield Program("Go", port, {"ACCOUNTS": f"1-{count}", "USERS": f"1-{count}"})
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def ledgerd(url: str, folder: Path, count: int, **settings: str) -> Iterator[Program]:
    """`ledgerd serve` on an empty database, with `count` users and as many accounts without a floor, made through its API."""
    with Serve(folder, DATABASE_URL=url, **settings) as served:
        served.wait_ready()
        key = served.key("admin")
        users = [{"name": f"user {n}", "email": f"user{n}@example.com"} for n in range(1, count + 1)]
        ranges = {
            "USERS": _made(served.port, key, "/api/users", users),
            "ACCOUNTS": _made(served.port, key, "/api/accounts", [{"asset": "USD/2", "min_balance": None}] * count),
        }
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE")
        yield Program("ledgerd", served.port, {"KEY": key, **ranges}, tuple(served.workers()))
        verified = served.command("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def _made(port: int, key: str, path: str, bodies: list[dict[str, Any]]) -> str:
    """Post them all, from several clients; the first and the last id, as FIRST-LAST. No id between them may be foreign."""

    def post(part: list[dict[str, Any]]) -> list[int]:
        ids = []
        with contextlib.closing(HttpClient(port, key)) as client:
            for body in part:
                reply = client.call("POST", path, body)
                assert reply.status == 201, reply.body
                ids.append(int(reply.json["id"]))
        return ids

    with ThreadPoolExecutor(CLIENTS) as pool:
        ids = [number for part in pool.map(post, [bodies[n::CLIENTS] for n in range(CLIENTS)]) for number in part]
    assert max(ids) - min(ids) + 1 == len(ids), f"the ids of {path} have gaps"
    return f"{min(ids)}-{max(ids)}"
