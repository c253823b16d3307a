"""Chunks of many transfers: each once for ever under its name, and as `post_transfers` would post them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import psycopg
import pytest

from service.concurrency.context import background
from service.concurrency.group import Group
from service.errors import IdempotencyKeyReused
from service.ledger.bulk import Bulk, Chunk, Once, PostedChunk
from service.ledger.model import Model, ModelAccount
from service.ledger.posting import Contention
from service.ledger.transfers import Outcome, Posted, PostRequest, Refused, link
from service.repository.bulk import BulkRepository
from service.repository.pool import Pool
from service.repository.posting import PostingRepository
from service.repository.queries import Queries, sql_folder
from tests.integration.conftest import insert_accounts
from tests.serving import wait_until

DIGEST = b"d" * 32


@pytest.fixture
def bulk(pool: Pool) -> BulkRepository:
    """What posts chunks."""
    return BulkRepository(pool, Queries(sql_folder() / "queries"))


@pytest.fixture(autouse=True)
def accounts(db: psycopg.Connection) -> None:
    """Three accounts of each ledger: the first has no floor."""
    insert_accounts(db, Model(), {
        (ledger, number): ModelAccount("USD/2", min_balance=None if number == 1 else 0)
        for ledger in (1, 2) for number in (1, 2, 3)
    })


def request(amount: int, *, source: int = 1, target: int = 2, ledger: int = 1, key: str | None = None) -> PostRequest:
    """A transfer from the outside world, unless told otherwise."""
    return PostRequest(ledger_id=ledger, from_account_id=source, to_account_id=target, amount=amount, key=key)


def chunk(
    *requests: PostRequest, name: str | None = "n", place: int = 0, digest: bytes = DIGEST, source: str = "bulk"
) -> Chunk:
    """A chunk, as the first of a request unless told otherwise."""
    once = None if name is None else Once(source, name, place, digest)  # type: ignore[arg-type]
    return Chunk(requests[0].ledger_id, requests, once)


def post(bulk: BulkRepository, made: Chunk) -> Sequence[Outcome]:
    """Post it."""
    return bulk.post_chunk(background(), made, bulk.encode(made)).outcomes


def count(db: psycopg.Connection) -> int:
    """How many transfers there are."""
    return int(db.execute("SELECT count(*) FROM transfers").fetchone()[0])


def test_a_chunk_is_posted_once_and_answered_again(bulk: BulkRepository, db: psycopg.Connection) -> None:
    """With its refusals: one that has funds by now is refused as it was."""
    made = chunk(request(5), request(50, source=2, target=3), request(3, source=2, target=3), request(1, target=9))
    first = post(bulk, made)
    assert [type(outcome) for outcome in first] == [Posted, Refused, Posted, Refused]
    post(bulk, chunk(request(1000), name=None))
    again = post(bulk, made)
    assert [outcome for outcome in again if isinstance(outcome, Refused)] == [
        Refused("insufficient_funds", "amount"), Refused("not_found", "to_account_id"),
    ]
    for before, after in zip(first, again, strict=True):
        if isinstance(before, Posted):
            assert isinstance(after, Posted)
            assert (before.replayed, after.replayed) == (False, True)
            assert before.transfer == after.transfer
    assert count(db) == 3


def test_a_chunk_without_a_name_leaves_no_record(bulk: BulkRepository, db: psycopg.Connection) -> None:
    """And is posted as often as it is sent."""
    for _ in range(2):
        assert isinstance(post(bulk, chunk(request(5), name=None))[0], Posted)
    assert (count(db), db.execute("SELECT count(*) FROM bulk_chunks").fetchone()) == (2, (0,))


@pytest.mark.parametrize("source", ["bulk", "import"])
def test_a_name_is_spent_for_one_thing(bulk: BulkRepository, db: psycopg.Connection, source: str) -> None:
    """Another digest under the same name and place posts nothing; another place, source or ledger is another thing."""
    post(bulk, chunk(request(5), source=source))
    with pytest.raises(IdempotencyKeyReused):
        post(bulk, chunk(request(5), source=source, digest=b"e" * 32))
    assert count(db) == 1
    others = {"bulk": "import", "import": "bulk"}
    for other in (
        chunk(request(5), source=source, place=500), chunk(request(5), source=others[source]),
        chunk(request(5, ledger=2), source=source),
    ):
        assert post(bulk, other)[0].replayed is False
    assert count(db) == 4


def test_the_key_of_a_bulk_request_is_no_transfers_and_the_other_way_round(
    bulk: BulkRepository, store: PostingRepository, db: psycopg.Connection
) -> None:
    """Whoever comes second is told that the key is spent, in either order."""
    post(bulk, chunk(request(5), name="bulk-first"))
    assert store.post_batch(background(), [request(5, key="bulk-first")]) == [
        Refused("idempotency_key_reused", "Idempotency-Key")
    ]
    store.post_batch(background(), [request(5, key="transfer-first")])
    with pytest.raises(IdempotencyKeyReused):
        post(bulk, chunk(request(5), name="transfer-first"))
    assert isinstance(store.post_batch(background(), [request(5, ledger=2, key="bulk-first")])[0], Posted)
    assert count(db) == 3


def test_items_have_keys_of_their_own(bulk: BulkRepository, store: PostingRepository, db: psycopg.Connection) -> None:
    """One that was posted before is replayed, one key twice in a chunk is posted once, and the chunk's own key is nobody's."""
    store.post_batch(background(), [request(5, key="a")])
    made = chunk(request(5, key="a"), request(6, key="b"), request(6, key="b"), request(7, key="b"), request(8, key="n"))
    for _ in range(2):
        outcomes = post(bulk, made)
        assert [outcome.replayed if isinstance(outcome, Posted) else outcome.code for outcome in outcomes[2:]] == [
            True, "idempotency_key_reused", "idempotency_key_reused"
        ]
        assert outcomes[0].replayed
        assert outcomes[1].transfer.id == outcomes[2].transfer.id
    assert count(db) == 2


def test_a_group_is_posted_as_one_or_not_at_all(bulk: BulkRepository, db: psycopg.Connection) -> None:
    """Its rows name the first of them; its refusal is final under its name, and blames the same request again."""
    outcomes = post(bulk, chunk(*link([request(5), request(3, source=2, target=3), request(2, source=2, target=3)])))
    assert [outcome.transfer.linked_id for outcome in outcomes] == [outcomes[0].transfer.id] * 3
    made = chunk(*link([request(5), request(6, source=2, target=3), request(1)]), name="refused")
    for _ in range(2):
        assert post(bulk, made) == [Refused("insufficient_funds", "amount", 1)] * 3
        post(bulk, chunk(request(9), name=None))
    assert count(db) == 5


def test_the_same_chunk_at_the_same_time_is_posted_once(pool: Pool, bulk: BulkRepository, db: psycopg.Connection) -> None:
    """Four at once, by a name that is new to all of them; accounts and names are fought for, and nothing is doubled."""
    for source in ("bulk", "import"):
        made = chunk(*(request(n) for n in range(1, 101)), source=source)
        found: list[Sequence[Outcome]] = []

        def run(made: Chunk = made, found: list[Sequence[Outcome]] = found) -> None:
            poster = Bulk(bulk, longest_s=30)
            found.extend(outcomes for _, outcomes in poster.post(background(), [made]))

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(found) == 4
        assert len({tuple(outcome.transfer.id for outcome in outcomes) for outcomes in found}) == 1
        assert sum(not outcome.replayed for outcomes in found for outcome in outcomes) == 100
    assert count(db) == 200


def test_a_name_that_another_has_just_spent_is_contention(
    bulk: BulkRepository, db: psycopg.Connection, database_url: str
) -> None:
    """An import that waits for the same chunk of another finds it there when it tries again."""
    made = chunk(request(5), source="import")
    raised: list[BaseException] = []

    def run() -> None:
        try:
            post(bulk, made)
        except Contention as error:
            raised.append(error)

    with psycopg.connect(database_url) as other:  # it has posted the same chunk, and not committed it
        other.execute("SELECT FROM accounts WHERE ledger_id = 1 FOR UPDATE")
        columns = "ledger_id, source, name, chunk, fingerprint, transfer_ids"
        other.execute(f"INSERT INTO bulk_chunks ({columns}) VALUES (1, 'import', 'n', 0, '', '{{}}')")
        thread = threading.Thread(target=run)
        thread.start()
        waiting = "SELECT FROM pg_stat_activity WHERE query LIKE '%post_bulk%' AND wait_event_type = 'Lock'"
        wait_until(lambda: db.execute(waiting).fetchone() is not None, 10)
        other.commit()
        thread.join(30)
    assert len(raised) == 1
    with pytest.raises(IdempotencyKeyReused):
        post(bulk, made)
    assert count(db) == 0


def test_chunks_are_append_only(bulk: BulkRepository, db: psycopg.Connection) -> None:
    """As the log is."""
    post(bulk, chunk(request(5)))
    for statement in ("UPDATE bulk_chunks SET name = 'x'", "DELETE FROM bulk_chunks", "TRUNCATE bulk_chunks"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            db.execute(statement)


def test_whoever_waits_for_the_accounts_of_a_chunk_is_noticed(
    database_url: str, bulk: BulkRepository, db: psycopg.Connection
) -> None:
    """A transfer of one of them came while the chunk had them; without anybody nobody is told of."""
    made = chunk(request(5), name=None)
    assert not bulk.post_chunk(background(), made, bulk.encode(made)).is_awaited
    db.execute("SELECT pg_advisory_lock(1)")
    db.execute(  # the chunk writes its row, then stands still until both have come
        "CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_advisory_lock_shared(1); RETURN NULL; END$$;"
        "CREATE TRIGGER stand_still AFTER INSERT ON transfers FOR EACH STATEMENT EXECUTE FUNCTION stand_still()"
    )
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = %s"
    found: list[PostedChunk] = []
    with Group(background()) as group, psycopg.connect(database_url) as other:
        group.spawn(lambda ctx: found.append(bulk.post_chunk(ctx, made, bulk.encode(made))))
        wait_until(lambda: db.execute(waits, ["advisory"]).fetchone() == (1,), 10)
        group.spawn(lambda _ctx: other.execute("UPDATE accounts SET metadata = '{}' WHERE ledger_id = 1 AND id = 2"))
        wait_until(lambda: db.execute(waits, ["transactionid"]).fetchone() == (1,), 10)
        db.execute("SELECT pg_advisory_unlock(1)")
        group.wait()
    assert [one.is_awaited for one in found] == [True]
