"""What one transfer costs on its way, part by part: microseconds of processor time, the least of several runs.

    python -m tests.bench.path [--json FILE]

The parts run one by one in this process, patched by gevent as a worker is, with nothing else beside them: so a figure is
what a part costs by itself, with everything it touches near the processor. Under load the same parts take about twice as
long, since they displace each other's memory and share the cores. Parts of a batch are shared out over its 16 transfers. The
kernel's part, receiving and sending, is in none of them; `python -m tests.bench.loop` has that.
"""

# ruff: noqa: E402  # patched first, as a worker is
from gevent import monkey

monkey.patch_all()

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

import gevent
import psycopg
from gunicorn.config import Config as GunicornConfig
from gunicorn.http.wsgi import base_environ

from service.api import create_flask
from service.api.body import read_object
from service.api.hot import hot_routes
from service.api.problem import problem
from service.api.schemas import TransferInput, load
from service.app import Application
from service.concurrency.context import Context, background, with_timeout
from service.config import Config
from service.database import open_keys
from service.ledger.grants import Grant
from service.ledger.posting import Posting
from service.ledger.transfers import Outcome, Posted, PostRequest, Transfer
from service.middleware.chain import chain
from service.middleware.environ import CLIENT_LEFT, CONTEXT, PRINCIPAL
from service.repository.migrate import migrate
from service.repository.pool import Pool
from service.repository.posting import call, encode, outcomes
from service.repository.queries import Queries, sql_folder
from service.server.answer import Answer
from service.server.heads import heads_for
from tests.bench.posting import ACCOUNTS, batch, server
from tests.bench.regress.cases import processor_ns

SIZE = 16  # of a batch
RUNS = 9
POSTED = Posted(Transfer(1, 1234, 5678, 1250, "USD/2", None, {}, 1, 1, -1250, 1250, datetime.now(UTC)), False, 1)


def cost(part: Callable[[], object], number: int = 3000) -> float:
    """Microseconds of this process for one call, the least of RUNS runs."""
    took = []
    for _ in range(RUNS):
        begin = time.process_time_ns()
        for _ in range(number):
            part()
        took.append((time.process_time_ns() - begin) / number / 1000)
    return min(took)


class Client:
    """Stands for a connection whose client takes everything at once."""

    def sendall(self, data: bytes) -> None:
        """It is gone."""

    def when_client_leaves(self, _callback: Callable[[], None]) -> Callable[[], None]:
        """It never does."""
        return lambda: None


class Known:
    """Stands for the transfers behind the handler: posted already."""

    def create(self, _ctx: Context, _request: PostRequest) -> Posted:
        """The same each time."""
        return POSTED


class Memory:
    """A store of batches that has no database."""

    def post_batch(self, _ctx: Context, requests: Sequence[PostRequest]) -> Sequence[Outcome]:
        """At the next turn of the hub, as an answer from a socket would be."""
        gevent.sleep(0)
        return [POSTED] * len(requests)


def through(app: WSGIApplication, environ: Callable[[], dict[str, Any]]) -> Callable[[], object]:
    """A request to `app`, to be timed."""

    def start(_status: str, _headers: object, _exc_info: object = None) -> Callable[[bytes], None]:
        return lambda _: None

    return lambda: app(environ(), start)


def parts_of_a_request(app: Application, token: str) -> dict[str, float]:
    """Microseconds of what each request passes by itself."""
    client, gunicorn = Client(), GunicornConfig()
    body = b'{"from_account_id": 1234, "to_account_id": 5678, "amount": 1250}'
    head = (
        b"POST /api/transfers HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (token.encode(), len(body))
    )
    base = {
        **base_environ(gunicorn), CLIENT_LEFT: client.when_client_leaves, "REMOTE_ADDR": "127.0.0.1", "SCRIPT_NAME": "",
        "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8080", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
    }
    heads, schema, value = heads_for(()), TransferInput(), json.loads(body)
    routes = app.routes
    route = next(each for each in routes if (each.method, each.path) == ("POST", "/api/transfers"))
    route.handler.__self__._transfers = Known()  # type: ignore[attr-defined]  # the handler's own, in this process alone
    principal = app.resources.authenticator.authenticate(background(), token)

    def environ() -> dict[str, Any]:
        return heads.read(head, base, heads.take_apart(head)).environ | {"wsgi.input": BytesIO(body)}  # type: ignore[union-attr]

    def within() -> dict[str, Any]:
        return environ() | {CONTEXT: background(), PRINCIPAL: principal}

    def empty(_environ: dict[str, Any], start: Any) -> list[bytes]:
        start("201 Created", [])
        return [b"x"]

    def answer() -> None:
        one = Answer(client, gunicorn, "POST", False)  # type: ignore[arg-type]  # it only sends
        one.start("201 Created", [("Content-Length", "300"), *((f"X-{n}", "a value of some length") for n in range(7))])
        one.send([b"x" * 300])

    flask, hot = create_flask(routes), hot_routes(empty, routes)
    read, handler = cost(lambda: read_object(environ())), cost(through(hot, within))
    base_us, within_us, loaded = cost(environ), cost(within), cost(lambda: load(schema, value))
    return {
        "loop: reading the head": cost(lambda: heads.read(head, base, heads.take_apart(head))),
        "loop: writing the answer": cost(answer),
        "middleware, all layers": cost(through(_chain(app, empty), environ)) - base_us,
        "Flask, left out here": cost(through(flask, within)) - handler,
        "reading the body": read - base_us,
        "marshmallow, left out here": cost(lambda: schema.load(value)) - loaded,
        "checking the fields": loaded,
        "handler: request and answer": handler - within_us - (read - base_us) - loaded,
    }


def _chain(app: Application, inner: WSGIApplication) -> WSGIApplication:
    metrics = app.telemetry.metrics
    return chain(
        inner, public_paths=frozenset(), render=problem, authenticate=app.resources.authenticator.authenticate, longest_s=30.0,
        body_limits={}, cors_origins=(), trusted_proxies=(), take_key=app.take_of_key, address_buckets=app.limiter,
        on_refusal=metrics.limiter_refused, sample=app.telemetry.sample, began=metrics.request_began,
        ended=app.telemetry.observers(),
    )


def hand_over() -> float:
    """Microseconds of one transfer from the handler to a lane and back, with SIZE at once; the database takes none."""
    posting = Posting(Memory(), capacity=1024, longest_s=30.0)
    lane = gevent.spawn(posting.run_lane, background())
    request = batch(1, keys=False, hot=False)[0]

    def client(number: int) -> None:
        for _ in range(number):
            with with_timeout(background(), 30.0) as ctx:
                posting.post(ctx, request)

    def all_clients() -> None:
        gevent.joinall([gevent.spawn(client, 50) for _ in range(SIZE)], raise_error=True)

    per_transfer = cost(all_clients, 4) / SIZE / 50
    posting.close()
    lane.join(10)
    return per_transfer


def parts_of_a_batch(postgres_url: str) -> dict[str, float]:
    """Microseconds for each transfer of a batch of SIZE, with keys: the lane's, the driver's, and the database's."""
    pool = Pool(postgres_url, max_open=1, min_idle=1, max_lifetime_s=3600, max_idle_s=3600, timeout_s=30)
    pool.open()
    statement = Queries(sql_folder() / "queries").take("post_transfers")
    requests = [batch(SIZE, keys=True, hot=False) for _ in range(400)]
    arguments = [encode(each) for each in requests]
    with with_timeout(background(), 60.0) as ctx:
        with pool.connection(ctx) as conn:
            backend = conn.info.backend_pid
        rows = call(pool, ctx, statement, arguments[0])
        driver, database = [], []
        for some in (arguments[n : n + 50] for n in range(50, 400, 50)):  # the first fifty warm it up
            mine, theirs = time.process_time_ns(), processor_ns(backend)
            for each in some:
                call(pool, ctx, statement, each)
            driver.append((time.process_time_ns() - mine) / 50 / SIZE / 1000)
            database.append((processor_ns(backend) - theirs) / 50 / SIZE / 1000)
    pool.close(5)
    return {
        "lane: encoding, and reading the outcomes": cost(
            lambda: (encode(requests[0]), outcomes(requests[0], rows)), 300
        ) / SIZE,
        "driver: the round trip": min(driver),
        "PostgreSQL: rules, rows, commit": min(database),
    }


def measure() -> dict[str, float]:
    """All parts, in the order of the way."""
    with server() as (postgres, _), tempfile.TemporaryDirectory(prefix="ledgerd-bench-") as folder:
        migrate(postgres.url, sql_folder(), lambda _: None)
        with psycopg.connect(postgres.url, autocommit=True) as conn:
            conn.execute("INSERT INTO ledgers (name) VALUES ('main')")
            conn.execute(
                "INSERT INTO accounts (ledger_id, asset, min_balance) SELECT 1, 'USD/2', NULL FROM generate_series(1, %s)",
                [ACCOUNTS],
            )
            conn.execute("VACUUM ANALYZE")
        settings = {
            "DATABASE_URL": postgres.url, "LEDGERD_DATA_DIR": folder, "LEDGERD_RUN_DIR": folder,
            "LEDGERD_LOG_LEVEL": "warning", "LEDGERD_SEAL_INTERVAL_S": "0",
        }
        with open_keys(postgres.url) as keys, with_timeout(background(), 30.0) as ctx:
            token = keys.create(ctx, Grant(scopes=("transfers:write",), name="bench"), ledger="main").token
        app = Application(Config.from_env(settings)).open()
        app.resources.authenticator.authenticate(background(), token)
        gevent.sleep(1.5)  # from the first proof of the listener on, keys are kept
        figures = parts_of_a_request(app, token)
        app.close(10.0)
        return figures | {"hand-over: to the lane and back": hand_over()} | parts_of_a_batch(postgres.url)


def main() -> int:
    """Print the table, and the sum of what a hot transfer passes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    figures = measure()
    for name, microseconds in figures.items():
        print(f"{name:44} {microseconds:6.1f} µs")
    python = sum(each for name, each in figures.items() if "left out" not in name and "PostgreSQL" not in name)
    print(f"{'the sum in the worker':44} {python:6.1f} µs")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
