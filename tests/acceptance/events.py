"""What the tests of live events share: a ledger of their own on one server, and who posts to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from tests.client import HttpClient
from tests.conftest import make_key
from tests.serving import Serve, descendants

_numbers = count(1)


@contextmanager
def serving(folder: Path, url: str, **settings: str) -> Iterator[Serve]:
    """A ready server, of which nothing is left afterwards."""
    usual = {"LEDGERD_WORKERS": "1", "LEDGERD_LOG_LEVEL": "warning", "LEDGERD_DB_MAX_OPEN": "10"}
    with Serve(folder, DATABASE_URL=url, **usual | settings) as server:
        yield server.wait_ready()
    assert descendants(server.process.pid) == []


def new_key(url: str, *scopes: str) -> str:
    """A key of a new ledger."""
    return make_key(url, f"ledger-{next(_numbers)}", *scopes)


class Poster:
    """Posts transfers in its key's ledger, from an account without a floor to another."""

    def __init__(self, port: int, key: str) -> None:
        self.http = HttpClient(port, key)
        self.source, self.target = (self.account(min_balance=floor) for floor in (None, 0))

    def account(self, **fields: Any) -> int:
        """Open one; its id."""
        return int(self._made("/api/accounts", {"asset": "USD/2", **fields})["id"])

    def post(self, number: int = 1, **fields: Any) -> list[int]:
        """Post so many, one by one; their ids."""
        return [int(self._made("/api/transfers", {**self.transfer(), **fields})["id"]) for _ in range(number)]

    def bulk(self, number: int, key: str) -> None:
        """Post so many at once."""
        reply = self.http.call("POST", "/api/transfers/bulk", {"transfers": [self.transfer()] * number}, Idempotency_Key=key)
        assert reply.status == 200, reply.body

    def transfer(self) -> dict[str, int]:
        """As a body."""
        return {"from_account_id": self.source, "to_account_id": self.target, "amount": 1}

    def close(self) -> None:
        """Leave."""
        self.http.close()

    def _made(self, path: str, body: Any) -> Any:
        reply = self.http.call("POST", path, body)
        assert reply.status == 201, reply.body
        return reply.json
