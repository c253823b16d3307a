"""Measure calls over gRPC: transfers posted and users read in a second, and how long each call takes.

    python -m tests.bench.rpc [--seconds 5] [--clients 2] [--calls 32] [--streams 0] [--rate 0]

It starts a PostgreSQL and a `ledgerd grpc` of its own, and `--clients` processes with `--calls` calls under way in each. They
share the machine with the server: each of them costs about as much as the server does for it. With `--streams`, so many
streams of events are open meanwhile, and are read; how late events come is told too. With `--rate`, each process begins no
more than so many calls in a second.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from service.rpc.v1 import ledger_pb2, ledger_pb2_grpc, users_pb2, users_pb2_grpc
from tests.bench.posting import server
from tests.conftest import make_key
from tests.rpc.client import RpcClient
from tests.rpc.serving import ServeGrpc


def load(port: int, key: str, kind: str, accounts: list[int], calls: int, seconds: float, rate: float) -> list[float]:
    """One client process: the milliseconds of each call that it has made."""
    with RpcClient(port, key) as client, ThreadPoolExecutor(calls) as threads:
        users, ledger = users_pb2_grpc.UserServiceStub(client.channel), ledger_pb2_grpc.LedgerServiceStub(client.channel)
        end = time.monotonic() + seconds

        def work(number: int) -> list[float]:
            took, metadata = [], client.metadata()
            source, target = accounts[number % len(accounts)], accounts[(number + 1) % len(accounts)]
            transfer = ledger_pb2.CreateTransferRequest(from_account_id=source, to_account_id=target, amount=1)
            user = users_pb2.GetUserRequest(id=1)
            while (began := time.monotonic()) < end:
                if rate:
                    time.sleep(calls / rate)
                    began = time.monotonic()
                if kind == "transfers":
                    ledger.CreateTransfer(transfer, metadata=metadata)
                else:
                    users.GetUser(user, metadata=metadata)
                took.append(1000 * (time.monotonic() - began))
            return took

        return [each for part in threads.map(work, range(calls)) for each in part]


def listen(port: int, key: str, late: list[float], ready: threading.Event) -> None:
    """Read a stream to its end; how late each event came, in milliseconds."""
    with RpcClient(port, key) as client:
        stub = ledger_pb2_grpc.LedgerServiceStub(client.channel)
        call = stub.StreamEvents(ledger_pb2.StreamEventsRequest(), metadata=client.metadata())
        call.initial_metadata()
        ready.set()
        try:
            for event in call:
                late.append(1000 * (time.time() - event.created_at.ToNanoseconds() / 1e9))
        except Exception as error:  # noqa: BLE001  # it ends with the server
            print(f"a stream ended: {error.code().name}", file=sys.stderr)


def tell(name: str, took: list[float], seconds: float) -> None:
    """A line of figures."""
    cuts = statistics.quantiles(took, n=100)
    print(f"{name:24} {len(took) / seconds:8,.0f}/s   p50 {cuts[49]:7.2f} ms   p99 {cuts[98]:7.2f} ms")


def main() -> int:
    """Start, load, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--calls", type=int, default=32)
    parser.add_argument("--streams", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    with server() as (postgres, _), tempfile.TemporaryDirectory() as folder:
        migrate(postgres.url, sql_folder(), lambda _: None)
        key = make_key(postgres.url)
        with ServeGrpc(Path(folder), postgres.url, LEDGERD_DB_MAX_OPEN="10", LEDGERD_GRPC_STREAMS="64") as serving:
            port = serving.wait_ready().port
            with RpcClient(port, key) as client:
                client.user("CreateUser", {"name": "A", "email": "a@example.com"})
                wanted = {"asset": "USD/2", "without_min_balance": True}
                accounts = [client.ledger("CreateAccount", wanted).message.id for _ in range(50)]
            late: list[float] = []
            for _ in range(options.streams):
                ready = threading.Event()
                threading.Thread(target=listen, args=(port, key, late, ready), daemon=True).start()
                ready.wait(30)
            with ProcessPoolExecutor(options.clients, multiprocessing.get_context("spawn")) as processes:
                for kind in ("transfers", "user reads"):
                    futures = [
                        processes.submit(load, port, key, kind, accounts, options.calls, options.seconds, options.rate)
                        for _ in range(options.clients)
                    ]
                    tell(kind, [each for future in futures for each in future.result()], options.seconds)
            if late:
                tell("events, from the commit", late, options.seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
