"""Reads from replicas: never back in time, whatever becomes of them, and nothing left behind."""

from __future__ import annotations

import time
from dataclasses import replace

import psycopg
import pytest

from service.api.cursors import Cursors
from service.app import Application
from service.concurrency.context import background, with_timeout
from service.config import Config
from service.errors import DeadlineExceeded
from service.repository.hedging import SHARE
from service.repository.pool import LONGEST_ACQUIRE_S
from tests.client import ApiClient
from tests.conftest import make_key
from tests.replicas.conftest import Standby
from tests.serving import wait_until


def asked(application: Application) -> list[int]:
    """How often a connection to each replica was taken."""
    return [replica.pool.statistics().get("requests_num", 0) for replica in application.database.replicas.all]


def pair(api: ApiClient) -> tuple[int, int]:
    """Two accounts, of which the first may go below zero."""
    return api.account(min_balance=None)["id"], api.account()["id"]


def test_reads_are_spread_over_the_replicas(api: ApiClient, application: Application) -> None:
    """Both are asked, and what is written before is there soon."""
    first, second = pair(api)
    api.transfer(first, second, 5)
    wait_until(lambda: api.get(f"/api/accounts/{second}").json.get("balance") == 5, 10)
    before = asked(application)

    def are_asked() -> bool:
        for _ in range(20):
            assert api.get(f"/api/accounts/{second}/entries").status == 200
        return all(now - then >= 20 for now, then in zip(asked(application), before, strict=True))

    wait_until(are_asked, 60)  # one that was slow for a moment is asked again after some of the examinations


def test_a_read_that_brings_its_position_sees_the_write(api: ApiClient, standbys: list[Standby]) -> None:
    """Every kind of write, read at once; also while both replicas stand still."""

    def write_and_read(rounds: int) -> None:
        for n in range(rounds):
            posted = api.transfer(first, second, 1)
            seen = api.get(f"/api/transfers/{posted.json['id']}", Ledger_Position=posted.headers["Ledger-Position"])
            assert seen.json == posted.json
            balance = api.get(f"/api/accounts/{second}", Ledger_Position=posted.headers["Ledger-Position"]).json["balance"]
            assert balance == posted.json["to_balance"]
            made = api.post("/api/users", {"name": f"n{n}", "email": f"{time.monotonic_ns()}@example.com"})
            listed = api.get(f"/api/users?email={made.json['email']}", Ledger_Position=made.headers["Ledger-Position"])
            assert [user["id"] for user in listed.json["data"]] == [made.json["id"]]

    first, second = pair(api)
    write_and_read(20)
    with standbys[0].standing_still(), standbys[1].standing_still():
        write_and_read(10)


def test_a_replica_that_lags_is_left_out_and_taken_back(
    api: ApiClient, application: Application, standbys: list[Standby], config: Config
) -> None:
    """By time, as the primary's log goes on."""
    application.database.replicas._max_lag_s = 1.0
    first, second = pair(api)
    with standbys[0].standing_still():
        for _ in range(100):
            api.transfer(first, second, 1)
            if len(application.database.replicas.candidates()) == 1:
                break
            time.sleep(0.1)
        assert [replica.name for replica in application.database.replicas.candidates()] == ["2"]
    wait_until(lambda: len(application.database.replicas.candidates()) == 2, 20)


def test_without_replicas_that_answer_the_primary_does(
    api: ApiClient, application: Application, standbys: list[Standby]
) -> None:
    """No read fails while both go away, nor while they are away; and they are asked again when they are back."""
    first, _ = pair(api)
    for standby in standbys:
        standby.proxy.refusing = True
        standby.proxy.cut_all()
    for _ in range(30):
        assert api.get(f"/api/accounts/{first}").status == 200
    wait_until(lambda: application.database.replicas.candidates() == [], 10)
    assert api.get(f"/api/accounts/{first}").status == 200
    for standby in standbys:
        standby.proxy.refusing = False
    wait_until(lambda: len(application.database.replicas.candidates()) == 2, 20)


def test_dead_replicas_are_not_waited_for(api: ApiClient, application: Application, standbys: list[Standby]) -> None:
    """Nobody can connect to them: the primary answers long before the time in which a connection may become free."""
    first, _ = pair(api)
    application.database.hedging._fixed_s = 86_400
    for standby in standbys:
        standby.proxy.refusing = True
        standby.proxy.cut_all()
    for _ in range(5):
        assert api.get(f"/api/accounts/{first}", Request_Timeout=str(LONGEST_ACQUIRE_S - 1)).status == 200


def test_a_replica_that_falls_silent_is_given_up(api: ApiClient, application: Application, standbys: list[Standby]) -> None:
    """Its connections look alive and nothing comes: reads that wait for it are answered by others, long before their time."""
    first, _ = pair(api)
    for _ in range(10):
        assert api.get(f"/api/accounts/{first}").status == 200
    standbys[0].proxy.mute = True
    standbys[0].proxy.freeze()
    for _ in range(20):
        assert api.get(f"/api/accounts/{first}", Request_Timeout="10").status == 200
    wait_until(lambda: [replica.name for replica in application.database.replicas.candidates()] == ["2"], 10)


def test_hedges_are_few_and_leave_nothing_running(
    api: ApiClient, application: Application, standbys: list[Standby]
) -> None:
    """One replica answers late: the other is asked as well, for no more than a twentieth of reads, and the loser is ended."""
    first, _ = pair(api)
    hedging = application.database.hedging
    for _ in range(100):
        api.get(f"/api/accounts/{first}")
    standbys[0].proxy.latency_s = 0.2
    for _ in range(100):
        assert api.get(f"/api/accounts/{first}").status == 200
    assert 0 < hedging.hedges <= hedging.reads * SHARE + 1
    standbys[0].proxy.latency_s = 0.0
    wait_until(lambda: application.database.reader._left.count == 0, 10)
    for standby in standbys:
        running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ledgerd' AND state <> 'idle'"
        wait_until(lambda s=standby, q=running: s.execute(q) == (0,), 10)


def test_a_replica_that_loses_a_race_is_asked_last(application: Application) -> None:
    """It would have taken longer than until it was cancelled, so it is known to be slow before it has ever answered."""
    replicas = application.database.replicas
    wait_until(lambda: len(replicas.candidates()) == 2 and all(replica.mean_s for replica in replicas.all), 10)
    slow, fast = replicas.all
    slow.mean_s = fast.mean_s = 0.001
    with with_timeout(background(), 0.3) as ctx, pytest.raises(DeadlineExceeded):
        slow.read(ctx, lambda conn: conn.execute("SELECT pg_sleep(10)"), acquire_s=10)
    assert slow.mean_s > 0.05
    assert {replicas.candidates()[0].name for _ in range(4)} == {fast.name}


def test_a_server_that_is_no_replica_is_not_read(config: Config, database_url: str, key: str) -> None:
    """The primary itself, say, given by mistake."""
    application = Application(replace(config, replica_urls=(database_url,))).open()
    try:
        api = ApiClient(application, key)
        first, _ = pair(api)
        wait_until(lambda: application.database.replicas._left_out.get("1") == "it is no replica of this primary", 10)
        assert api.get(f"/api/accounts/{first}").status == 200
        assert application.database.replicas.candidates() == []
    finally:
        assert application.close(10) == []


@pytest.mark.parametrize("header", ["", "x", "AAAAAAAABA0PUZPW_GFbMpP_WKSkHJ5Q", ",", "1234", ",".join(["x"] * 9)])
def test_a_position_that_no_write_has_told(api: ApiClient, header: str) -> None:
    """422 that names the header."""
    reply = api.get("/api/users", Ledger_Position=header)
    assert (reply.status, reply.fields) == (422, ["Ledger-Position"])


def test_a_position_of_another_ledger(api: ApiClient, application: Application, database_url: str) -> None:
    """422: it says nothing here."""
    position = api.post("/api/accounts", {"asset": "USD/2"}).headers["Ledger-Position"]
    other = ApiClient(application, make_key(database_url, "other"))
    assert other.get("/api/users", Ledger_Position=position).fields == ["Ledger-Position"]


def test_a_position_in_another_spelling(api: ApiClient) -> None:
    """422: surplus padding is not what a write has told."""
    position = api.post("/api/accounts", {"asset": "USD/2"}).headers["Ledger-Position"]
    assert api.get("/api/users", Ledger_Position=position).status == 200
    assert api.get("/api/users", Ledger_Position=position + "====").fields == ["Ledger-Position"]


def test_a_position_of_the_future_is_waited_for(api: ApiClient, database_url: str) -> None:
    """As long as the request may take; then 503, which says that it may be asked for again."""
    with psycopg.connect(database_url) as conn:
        row = conn.execute(
            "SELECT value, pg_snapshot_xmax(pg_current_snapshot())::text::bigint FROM secrets WHERE name = 'cursor'"
        ).fetchone()
    assert row is not None
    position = Cursors(lambda _: row[0]).issue(background(), "position 1", row[1] + 1_000_000)
    reply = api.get("/api/users", Ledger_Position=position, Request_Timeout="0.5")
    assert (reply.status, reply.code) == (503, "unavailable")
    assert "Retry-After" in reply.headers


def test_several_positions_are_all_reached(api: ApiClient) -> None:
    """From writes by several connections, with commas between them."""
    made = [api.post("/api/accounts", {"asset": "USD/2"}) for _ in range(3)]
    header = ", ".join(reply.headers["Ledger-Position"] for reply in made)
    assert len(api.get("/api/accounts", Ledger_Position=header).json["data"]) == 3
