"""What `post_batch` raises when something goes wrong around the commit: never that nothing was done, when it may have been."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from service.concurrency.context import background, with_timeout
from service.errors import DeadlineExceeded, Internal
from service.ledger.model import Model, ModelAccount
from service.ledger.posting import AnswerLost
from service.ledger.transfers import Posted, PostRequest
from service.repository import posting
from service.repository.posting import PostingRepository
from service.repository.queries import Queries, sql_folder
from tests.integration.conftest import insert_accounts, open_pool
from tests.proxy import Cut, Proxy
from tests.serving import wait_until

REQUEST = PostRequest(ledger_id=1, from_account_id=1, to_account_id=2, amount=5)


@pytest.fixture(autouse=True)
def accounts(db: psycopg.Connection) -> None:
    """Two accounts of ledger `one`."""
    accounts = {(1, 1): ModelAccount("USD/2", min_balance=None), (1, 2): ModelAccount("USD/2")}
    insert_accounts(db, Model(accounts={}), accounts)


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """In front of the test's database."""
    with Proxy(database_url) as proxy:
        yield proxy


def posted(db: psycopg.Connection) -> int:
    """How many transfers there are."""
    return db.execute("SELECT count(*) FROM transfers").fetchone()[0]


@pytest.mark.parametrize(("cut", "there"), [(Cut.BEFORE, {0}), (Cut.SENT, {0, 1}), (Cut.ANSWER, {1}), (Cut.TORN, {1})])
def test_a_cut_connection_leaves_the_outcome_open(
    proxy: Proxy, db: psycopg.Connection, cut: Cut, there: set[int]
) -> None:
    """Wherever it is cut, also in the middle of a good answer: without the end of it, nothing is certain."""
    with open_pool(proxy.url) as pool:
        store = PostingRepository(pool, Queries(sql_folder() / "queries"))
        assert isinstance(store.post_batch(background(), [REQUEST])[0], Posted)
        proxy.arm(cut)
        with pytest.raises(AnswerLost):
            store.post_batch(background(), [REQUEST])
        assert posted(db) - 1 in there
        assert isinstance(store.post_batch(background(), [REQUEST])[0], Posted)


def test_an_answer_that_cannot_be_read_leaves_the_outcome_open(
    store: PostingRepository, db: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is committed by then: who believes that nothing was done would post it twice."""

    def unreadable(*_: object) -> None:
        raise ValueError("unreadable")

    monkeypatch.setattr(posting, "_outcome", unreadable)
    with pytest.raises(AnswerLost):
        store.post_batch(background(), [REQUEST])
    assert posted(db) == 1


def test_an_ended_session_leaves_the_outcome_open(store: PostingRepository, db: psycopg.Connection, database_url: str) -> None:
    """The server's last word on a connection is not believed: the commit may have come before it."""
    errors: list[Exception] = []

    def post() -> None:
        try:
            store.post_batch(background(), [REQUEST])
        except AnswerLost as error:
            errors.append(error)

    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT FROM accounts FOR UPDATE")
        caller = threading.Thread(target=post)
        caller.start()
        waiting = "FROM pg_stat_activity WHERE query LIKE '%post_transfers%' AND wait_event_type = 'Lock'"
        ended = f"SELECT pg_terminate_backend(pid) {waiting}"
        wait_until(lambda: db.execute(ended).fetchone() == (True,), 10)
        caller.join(10)
    assert len(errors) == 1
    assert posted(db) == 0


def test_a_batch_that_is_refused_or_cancelled_is_certain(
    store: PostingRepository, db: psycopg.Connection, database_url: str
) -> None:
    """An error on a connection that goes on: nothing was done, and nothing is in doubt."""
    with psycopg.connect(database_url) as holder:
        holder.execute("SELECT FROM accounts FOR UPDATE")
        with with_timeout(background(), 0.1) as ctx, pytest.raises(DeadlineExceeded):
            store.post_batch(ctx, [REQUEST])
    with pytest.raises(Internal):
        store.post_batch(background(), [PostRequest(ledger_id=1, from_account_id=1, to_account_id=2, amount=2**70)])
    assert posted(db) == 0
