"""How long a request may take, and what becomes of its work at the database when its time is up or its client has left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO

import psycopg
import pytest

from service.app import Application
from service.ledger.posting import Posting
from tests.client import ApiClient
from tests.serving import wait_until

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ledgerd'"
    " AND state = 'active'"
)


@contextmanager
def locked(database_url: str, statement: str) -> Iterator[psycopg.Connection]:
    """A session that holds a lock; the block gets a second one to look with."""
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as db:
        holder.execute(statement)
        yield db
        holder.rollback()


def waiting(db: psycopg.Connection) -> int:
    """How many statements of the application the server works on."""
    return db.execute(WAITING).fetchone()[0]


def test_a_read_ends_with_its_deadline(api: ApiClient, database_url: str) -> None:
    """504, the statement is cancelled as nobody else waits for it, and the connection serves the next request."""
    user = api.user()
    with locked(database_url, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE") as db:
        reply = api.get(f"/api/users/{user['id']}", Request_Timeout="0.1")
        assert (reply.status, reply.code) == (504, "deadline_exceeded")
        wait_until(lambda: waiting(db) == 0, 10)
    assert api.get(f"/api/users/{user['id']}").status == 200


def test_a_change_ends_with_its_deadline_and_changes_nothing(api: ApiClient, database_url: str) -> None:
    """It waits for a row that another session holds; when its time is up it is rolled back."""
    user = api.user()
    with locked(database_url, "SELECT FROM users FOR UPDATE") as db:
        changed = {"name": "Eve", "email": "eve@example.com"}
        reply = api.call("PUT", f"/api/users/{user['id']}", changed, Request_Timeout="0.1")
        assert (reply.status, reply.code) == (504, "deadline_exceeded")
        assert waiting(db) == 0
    assert api.get(f"/api/users/{user['id']}").json == user


def test_a_transfer_under_way_at_its_deadline_is_ended(
    api: ApiClient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its caller cannot know yet; nobody else waits for its batch, so that ends at the database, and the same key posts it."""
    remaining_s = Posting._remaining_s  # both end at one moment, and could be told in either order: here the caller is first
    monkeypatch.setattr(Posting, "_remaining_s", lambda lane, jobs: remaining_s(lane, jobs) + 0.5)
    transfer = {"from_account_id": api.account(min_balance=None)["id"], "to_account_id": api.account()["id"], "amount": 5}
    with locked(database_url, "SELECT FROM accounts FOR UPDATE") as db:
        reply = api.post("/api/transfers", transfer, Idempotency_Key="k", Request_Timeout="1")
        assert (reply.status, reply.code) == (504, "outcome_unknown")
        wait_until(lambda: waiting(db) == 0, 10)
    again = api.post("/api/transfers", transfer, Idempotency_Key="k")
    assert (again.status, "Idempotency-Replayed" in again.headers) == (201, False)


class Caller:
    """A server's side of a request: it can say that its client has left."""

    def __init__(self, application: Application, key: str, path: str) -> None:
        self.status = ""
        self._left: list[Callable[[], None]] = []
        self._environ = {
            "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "x",
            "RAW_URI": path, "wsgi.input": BytesIO(), "wsgi.url_scheme": "http", "SERVER_NAME": "x", "SERVER_PORT": "80",
            "HTTP_AUTHORIZATION": f"Bearer {key}", "ledgerd.client_left": self._on_leave,
        }
        self._thread = threading.Thread(target=self._call, args=(application,))
        self._thread.start()

    def leave(self) -> None:
        """Close the connection."""
        for callback in self._left:
            callback()

    def join(self) -> list[Callable[[], None]]:
        """Wait for the end; what is still registered."""
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self._left

    def _on_leave(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._left.append(callback)
        return lambda: self._left.remove(callback)

    def _call(self, application: Application) -> None:
        for _ in application(self._environ, self._start):
            pass

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
        self.status = status
        return lambda _: None


@pytest.mark.parametrize("leaves", [True, False])
def test_a_query_ends_when_its_client_leaves(
    api: ApiClient, application: Application, key: str, database_url: str, leaves: bool
) -> None:
    """The server's word that the client has gone cancels the statement; a client that stays is answered."""
    user = api.user()
    with locked(database_url, "LOCK TABLE users IN ACCESS EXCLUSIVE MODE") as db:
        caller = Caller(application, key, f"/api/users/{user['id']}")
        wait_until(lambda: waiting(db) == 1, 10)
        if leaves:
            caller.leave()
            wait_until(lambda: waiting(db) == 0, 10)
    assert caller.join() == []
    assert caller.status[:3] == ("499" if leaves else "200")
