"""A receiver of webhooks that notes what it is sent and answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True, slots=True)
class Receipt:
    """A request: what it was about, what it was answered, and when it came, on the monotonic clock."""

    message: str
    headers: dict[str, str]
    body: bytes
    status: int
    at: float
    path: str
    event: dict[str, Any]

    @property
    def account_ids(self) -> list[int]:
        """What the event is about."""
        data = self.event["data"]
        if "transfer" in data:
            return [data["transfer"]["from_account_id"], data["transfer"]["to_account_id"]]
        return [data["account"]["id"]]


Decide = Callable[[dict[str, Any]], int]


class Hooks:
    """Listens on a port of loopback; `decide` gives the status of the answer to an event."""

    def __init__(self, decide: Decide = lambda _event: 200, *, port: int = 0) -> None:
        self.decide = decide
        self.receipts: list[Receipt] = []
        self._accepted: dict[int, None] = {}
        self._verified = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10.0

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                at = time.monotonic()
                event = json.loads(body)
                status = outer.decide(event)
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.receipts.append(Receipt(headers["webhook-id"], headers, body, status, at, self.path, event))
                if 200 <= status < 300:
                    outer._accepted.setdefault(event["id"])
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            allow_reuse_address = True

            def handle_error(self, *_: object) -> None:
                return  # a dispatcher that was killed

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def url(self, path: str = "/") -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}{path}"

    def accepted(self) -> list[int]:
        """The ids of the events that were accepted, by their first such receipt."""
        return list(self._accepted)

    def verify(self, secret: str) -> None:
        """Every signature since the last time is good, while it is fresh, and the id is that of the event."""
        webhook = Webhook(secret)
        fresh = list(self.receipts[self._verified :])
        self._verified += len(fresh)
        for receipt in fresh:
            assert webhook.verify(receipt.body, receipt.headers) == receipt.event
            assert receipt.message.endswith(f"_{receipt.event['id']}")

    def check_order(self, but_not: Sequence[int] = ()) -> None:
        """Of each account, the first receipts that were accepted are in the order of the events."""
        order = self.accepted()
        accounts = {receipt.event["id"]: receipt.account_ids for receipt in list(self.receipts)}
        by_account: dict[int, list[int]] = defaultdict(list)
        for number in order:
            if number not in but_not:
                for account in accounts[number]:
                    by_account[account].append(number)
        for account, numbers in by_account.items():
            assert numbers == sorted(numbers), f"account {account}"

    def close(self) -> None:
        """Stop listening and join every thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def hooked(decide: Decide = lambda _event: 200) -> Iterator[Hooks]:
    """A receiver for the block."""
    hooks = Hooks(decide)
    try:
        yield hooks
    finally:
        hooks.close()
