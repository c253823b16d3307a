"""The dispatcher on a real database, with real receivers: what arrives, in what order, and what becomes of what does not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from standardwebhooks import Webhook

from service.app import Application
from service.commands.dispatcher import make_dispatcher
from service.concurrency.context import background
from service.concurrency.spawn import Tasks
from service.config import Config
from service.events.connections import Connections
from service.events.dispatcher import Dispatcher
from service.events.dispatching import Written
from service.events.lookup import Lookups
from service.events.outbox import Progress, Row
from service.repository.dispatching import DispatchRepository
from service.repository.queries import Queries, sql_folder
from tests.client import ApiClient
from tests.conftest import make_key
from tests.events.hooks import Hooks, hooked
from tests.integration.conftest import open_pool
from tests.serving import wait_until

CTX = background()


@pytest.fixture
def config(config: Config) -> Config:
    """Receivers on loopback, and no patience."""
    return replace(
        config, webhook_networks=("127.0.0.0/8",), webhook_backoff_s=0.05, webhook_backoff_cap_s=0.2, webhook_attempts=4,
        webhook_timeout_s=5.0, webhook_breaker_s=0.3, webhook_lease_s=2, seal_interval_s=0.0,
    )


@contextmanager
def dispatching(config: Config) -> Iterator[Dispatcher]:
    """A dispatcher for the block; it ends in order."""
    assert config.database_url is not None
    with open_pool(config.database_url) as pool:
        lookups, connections = Lookups(background()), Connections()
        dispatcher = make_dispatcher(config, pool, Queries(sql_folder() / "queries"), lookups, connections)
        tasks = Tasks(background())
        tasks.spawn("dispatcher", dispatcher.run, restart=False)
        try:
            yield dispatcher
            assert tasks.names() == ["dispatcher"], "it ended by itself"
        finally:
            assert tasks.stop(20) == []
            lookups.close()
            connections.close()


def make(api: ApiClient, url: str, **fields: Any) -> dict[str, Any]:
    """A webhook."""
    reply = api.post("/api/webhooks", {"url": url, **fields})
    assert reply.status == 201, reply.body
    made: dict[str, Any] = reply.json
    return made


def accounts(api: ApiClient, number: int) -> list[int]:
    """As many, without a floor."""
    return [api.account(min_balance=None)["id"] for _ in range(number)]


def amount_of(event: dict[str, Any]) -> int:
    """Of a transfer."""
    amount: int = event["data"]["transfer"]["amount"]
    return amount


def move(api: ApiClient, source: int, target: int, amount: int = 1) -> int:
    """A transfer's id."""
    reply = api.transfer(source, target, amount)
    assert reply.status == 201, reply.body
    number: int = reply.json["id"]
    return number


def arrived(hooks: Hooks, numbers: list[int], timeout_s: float = 20) -> None:
    """Wait until each was accepted."""
    wait_until(lambda: set(hooks.accepted()) >= set(numbers), timeout_s, lambda: f"{hooks.accepted()} of {numbers}")


def state(api: ApiClient, webhook: dict[str, Any]) -> dict[str, Any]:
    """The webhook as it is now."""
    found: dict[str, Any] = api.get(f"/api/webhooks/{webhook['id']}").json
    return found


def test_events_arrive_once_in_order_and_signed(api: ApiClient, config: Config) -> None:
    """Each as /api/events would show it; nothing is written of them but how far the webhook is."""
    one, two = accounts(api, 2)
    with hooked() as hooks, dispatching(config):
        webhook = make(api, hooks.url("/in?x=1"))
        numbers = [move(api, one, two, amount) for amount in range(1, 31)]
        arrived(hooks, numbers)
        assert hooks.accepted() == numbers
        assert len(hooks.receipts) == len(numbers)
        hooks.verify(webhook["secret"])
        first = hooks.receipts[0]
        assert (first.path, first.message) == ("/in?x=1", f"msg_{webhook['id']}_{numbers[0]}")
        assert first.event["type"] == "transfer.posted"
        assert first.event["data"]["transfer"] == api.get(f"/api/transfers/{numbers[0]}").json
        wait_until(lambda: state(api, webhook)["position"] >= numbers[-1], 10)
        assert (state(api, webhook)["waiting"], state(api, webhook)["dead"]) == (0, 0)


def test_filters(api: ApiClient, application: Application, database_url: str, config: Config) -> None:
    """By type, by account, by ledger; and from the beginning where that is asked for."""
    one, two, three = accounts(api, 3)
    before = move(api, one, two)
    other = ApiClient(application, make_key(database_url, "other"))
    with hooked() as holds, hooked() as of_three, hooked() as everything, hooked() as others, dispatching(config):
        make(api, holds.url(), types=["hold.placed"])
        make(api, of_three.url(), account_ids=[three])
        make(api, everything.url(), after=0)
        make(other, others.url(), after=0)
        plain = move(api, one, two)
        with_three = move(api, two, three)
        hold = api.transfer(one, two, 5, hold=True).json["id"]
        arrived(everything, [before, plain, with_three, hold])
        arrived(holds, [hold])
        arrived(of_three, [with_three])
        assert (holds.accepted(), of_three.accepted()) == ([hold], [with_three])
        kinds = lambda: [receipt.event["type"] for receipt in everything.receipts]  # noqa: E731
        wait_until(lambda: kinds().count("account.created") == 3, 20, kinds)
        assert others.receipts == []


def test_a_failed_event_is_attempted_again_and_holds_up_its_account_alone(api: ApiClient, config: Config) -> None:
    """The same id each time; what follows about the account waits, what is about others does not."""
    one, two, three, four = accounts(api, 4)
    let = False
    with hooked() as hooks, dispatching(replace(config, webhook_attempts=100)):
        webhook = make(api, hooks.url())
        hooks.decide = lambda event: 400 if amount_of(event) == 13 and not let else 200
        bad = move(api, one, two, 13)
        wait_until(lambda: any(receipt.event["id"] == bad for receipt in hooks.receipts), 10)
        behind = move(api, two, one)
        free = move(api, three, four)
        arrived(hooks, [free])
        wait_until(lambda: sum(receipt.event["id"] == bad for receipt in hooks.receipts) >= 3, 10)
        assert behind not in [receipt.event["id"] for receipt in hooks.receipts]
        waiting = api.get(f"/api/webhooks/{webhook['id']}/deliveries?status=waiting").json["data"]
        assert [delivery["event_id"] for delivery in waiting] == [bad, behind]
        assert (waiting[0]["last_problem"], waiting[1]["attempts"]) == ("status 400", 0)
        let = True
        arrived(hooks, [bad, behind])
        hooks.check_order()
        assert len({receipt.message for receipt in hooks.receipts if receipt.event["id"] == bad}) == 1
        wait_until(lambda: state(api, webhook)["waiting"] == 0, 10)


def test_what_fails_too_often_is_given_up_and_can_be_sent_again(api: ApiClient, config: Config) -> None:
    """After so many attempts it is dead, and what waited behind it goes on."""
    one, two = accounts(api, 2)
    let = False
    with hooked() as hooks, dispatching(config):
        webhook = make(api, hooks.url())
        hooks.decide = lambda event: 503 if amount_of(event) == 13 and not let else 200
        bad = move(api, one, two, 13)
        behind = [move(api, one, two) for _ in range(3)]
        arrived(hooks, behind)
        (dead,) = api.get(f"/api/webhooks/{webhook['id']}/deliveries?status=dead").json["data"]
        assert (dead["event_id"], dead["status"], dead["attempts"]) == (bad, "dead", config.webhook_attempts)
        assert sum(receipt.event["id"] == bad for receipt in hooks.receipts) == config.webhook_attempts
        let = True
        assert api.call("POST", f"/api/webhooks/{webhook['id']}/redeliver").json == {"redelivered": 1}
        arrived(hooks, [bad])
        wait_until(lambda: (state(api, webhook)["dead"], state(api, webhook)["waiting"]) == (0, 0), 10)


def test_gone_disables_the_webhook(api: ApiClient, config: Config) -> None:
    """410 says that nobody is there any more. Enabled again, it goes on where it was."""
    one, two = accounts(api, 2)
    with hooked(lambda _event: 410) as hooks, dispatching(config):
        webhook = make(api, hooks.url())
        numbers = [move(api, one, two) for _ in range(3)]
        wait_until(lambda: state(api, webhook)["status"] == "disabled", 10)
        assert state(api, webhook)["disabled_because"] == "gone"
        assert [receipt.event["id"] for receipt in hooks.receipts] == numbers[:1]
        hooks.decide = lambda _event: 200
        assert api.call("PATCH", f"/api/webhooks/{webhook['id']}", {"status": "enabled"}).status == 200
        arrived(hooks, numbers)
        assert hooks.accepted() == numbers


def test_a_disabled_webhook_is_told_later(api: ApiClient, config: Config) -> None:
    """Nothing while it is disabled, and nothing is lost."""
    one, two = accounts(api, 2)
    with hooked() as hooks, dispatching(config):
        webhook = make(api, hooks.url())
        arrived(hooks, [move(api, one, two)])
        api.call("PATCH", f"/api/webhooks/{webhook['id']}", {"status": "disabled"})
        wait_until(lambda: lease_is_free(config, webhook), 10)
        numbers = [move(api, one, two) for _ in range(3)]
        assert len(hooks.receipts) == 1
        api.call("PATCH", f"/api/webhooks/{webhook['id']}", {"status": "enabled"})
        arrived(hooks, numbers)


def lease_is_free(config: Config, webhook: dict[str, Any]) -> bool:
    """Whether no dispatcher has it."""
    with psycopg.connect(config.database_url or "") as conn:
        row = conn.execute("SELECT lease_until <= now() FROM webhooks WHERE id = %s", (webhook["id"],)).fetchone()
    return row == (True,)


def test_another_url_is_used_at_once(api: ApiClient, config: Config) -> None:
    """What has failed at the old one does not wait for its time."""
    one, two = accounts(api, 2)
    patient = replace(config, webhook_backoff_s=3600.0, webhook_backoff_cap_s=7200.0)
    with hooked(lambda _event: 500) as old, hooked() as new, dispatching(patient):
        webhook = make(api, old.url())
        number = move(api, one, two)
        wait_until(lambda: state(api, webhook)["waiting"] == 1, 10)
        api.call("PATCH", f"/api/webhooks/{webhook['id']}", {"url": new.url()})
        arrived(new, [number])


def test_both_secrets_sign_while_one_is_replaced(api: ApiClient, config: Config) -> None:
    """Within a second of the rotation; and the old one no more where there is no overlap."""
    one, two = accounts(api, 2)
    with hooked() as hooks, dispatching(config):
        old = make(api, hooks.url())
        path = f"/api/webhooks/{old['id']}/rotate-secret"
        new = api.post(path, {"overlap_s": 3600}).json

        def signatures() -> int:
            move(api, one, two)
            wait_until(lambda: bool(hooks.receipts), 10)
            return len(hooks.receipts[-1].headers["webhook-signature"].split())

        wait_until(lambda: signatures() == 2, 10)
        last = hooks.receipts[-1]
        for secret in (old["secret"], new["secret"]):
            Webhook(secret).verify(last.body, last.headers)
        newest = api.post(path, {"overlap_s": 0}).json
        wait_until(lambda: signatures() == 1, 10)
        Webhook(newest["secret"]).verify(hooks.receipts[-1].body, hooks.receipts[-1].headers)


def test_a_service_is_found_by_its_name(api: ApiClient, config: Config) -> None:
    """Wherever its instance is; while there is none, the attempts fail."""
    one, two = accounts(api, 2)
    with hooked() as hooks, dispatching(replace(config, webhook_attempts=100)):
        webhook = make(api, "service://mail/in")
        number = move(api, one, two)
        wait_until(lambda: state(api, webhook)["waiting"] == 1, 10)
        (waiting,) = api.get(f"/api/webhooks/{webhook['id']}/deliveries").json["data"]
        assert "No instance of the service 'mail'" in waiting["last_problem"]
        instance = {"address": f"127.0.0.1:{hooks.port}", "lease_s": 60}
        assert api.call("PUT", "/api/services/mail/instances/one", instance).status in (200, 201)
        arrived(hooks, [number])
        assert hooks.receipts[-1].path == "/in"


def test_a_service_does_not_lead_where_a_url_may_not(api: ApiClient, config: Config) -> None:
    """An instance that registers itself at a private address is not connected to."""
    one, two = accounts(api, 2)
    with hooked() as hooks:
        instance = {"address": f"127.0.0.1:{hooks.port}", "lease_s": 60}
        assert api.call("PUT", "/api/services/mail/instances/one", instance).status in (200, 201)
        with dispatching(replace(config, webhook_networks=("10.0.0.0/8",))):
            webhook = make(api, "service://mail/in")
            move(api, one, two)
            wait_until(lambda: state(api, webhook)["dead"] == 1, 20)
        (dead,) = api.get(f"/api/webhooks/{webhook['id']}/deliveries").json["data"]
        assert dead["last_problem"] == "the host has an address that is not allowed"
        assert hooks.receipts == []


def test_a_target_that_is_not_there_costs_a_few_rows(api: ApiClient, config: Config) -> None:
    """The log is not read on for it, and nothing is given up while its breaker is open. Then everything arrives, in order."""
    pairs = [accounts(api, 2) for _ in range(40)]
    with hooked() as hooks:
        port = hooks.port
    webhook = make(api, f"http://127.0.0.1:{port}/")
    patient = replace(config, webhook_attempts=1000, webhook_breaker_s=0.2)
    with dispatching(patient) as dispatcher:
        numbers = [move(api, *pair) for pair in pairs for _ in range(3)]
        wait_until(lambda: dispatcher.told.breakers.get("open", 0) + dispatcher.told.breakers.get("half-open", 0) == 1, 20)
        shown = state(api, webhook)
        assert shown["waiting"] <= 2 * 16, "as many as are read for a target that fails, and those that have failed"
        with hooked() as there:
            api.call("PATCH", f"/api/webhooks/{webhook['id']}", {"url": there.url()})
            arrived(there, numbers)
            there.check_order()
        assert shown["dead"] == 0


def test_one_event_that_fails_at_a_busy_account_costs_a_bounded_number_of_rows(
    api: ApiClient, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else is stuck behind it. At so many the log is read no further; when it is taken, everything arrives, in order."""
    monkeypatch.setattr("service.events.dispatcher.MOST_OUTSTANDING", 30)
    hub, *others = accounts(api, 4)
    let = False
    patient = replace(config, webhook_attempts=1000)
    with hooked() as hooks, dispatching(patient) as dispatcher:
        webhook = make(api, hooks.url())
        hooks.decide = lambda event: 422 if amount_of(event) == 13 and not let else 200
        numbers = [move(api, hub, others[0], 13)]
        wait_until(lambda: bool(hooks.receipts), 10)
        numbers += [move(api, hub, other) for _ in range(25) for other in others]
        wait_until(lambda: 15 <= state(api, webhook)["waiting"] <= 30, 20)
        turns = dispatcher.turns
        wait_until(lambda: dispatcher.turns > turns + 20, 20)
        assert state(api, webhook)["waiting"] <= 30
        assert hooks.accepted() == []
        let = True
        arrived(hooks, numbers, 60)
        assert hooks.accepted() == numbers
        wait_until(lambda: state(api, webhook)["waiting"] == 0, 10)


def test_two_dispatchers_share_and_take_over(api: ApiClient, config: Config) -> None:
    """A webhook is one's alone; when that ends in order, the other goes on at once."""
    one, two = accounts(api, 2)
    with hooked() as hooks, dispatching(config) as first:
        make(api, hooks.url())
        arrived(hooks, [move(api, one, two)])
        with dispatching(config) as second:
            wait_until(lambda: second.turns > 5, 10)
            assert (first.told.webhooks, second.told.webhooks) == (1, 0)
    with dispatching(config) as third, hooked() as other:
        make(api, other.url())
        arrived(other, [move(api, one, two)])
        wait_until(lambda: third.told.webhooks == 2, 10)


def test_lost_connections_lose_nothing(api: ApiClient, database_url: str, config: Config) -> None:
    """The database ends every session, again and again: it goes on, and the order holds."""
    pairs = [accounts(api, 2) for _ in range(5)]
    numbers = [move(api, *pair) for _ in range(20) for pair in pairs]
    rng = random.Random(3)
    patient = replace(config, webhook_attempts=100)
    with hooked(lambda _event: 500 if rng.random() < 0.2 else 200) as hooks, dispatching(patient):
        webhook = make(api, hooks.url(), types=["transfer.posted"], after=0)
        for share in (0, 25, 50, 75):
            wait_until(lambda share=share: len(hooks.accepted()) >= share, 60)
            with psycopg.connect(database_url, autocommit=True) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        arrived(hooks, numbers, 60)
        hooks.check_order()
        wait_until(lambda: api.get(f"/api/webhooks/{webhook['id']}").json["waiting"] == 0, 30)


def test_who_comes_late_changes_nothing(api: ApiClient, database_url: str) -> None:
    """A lease that was taken over is worth nothing, whatever its holder believes: cursor, rows and status stay as they are."""
    webhook = make(api, "https://a.example/")
    with open_pool(database_url) as pool, psycopg.connect(database_url, autocommit=True) as conn:
        store = DispatchRepository(pool, Queries(sql_folder() / "queries"))
        (old,) = store.claim(CTX, lease_s=60, limit=10)
        assert store.claim(CTX, lease_s=60, limit=10) == []
        conn.execute("UPDATE webhooks SET lease_until = now() - interval '1 second'")
        (new,) = store.claim(CTX, lease_s=60, limit=10)
        rows = [
            Row(7, "transfer.posted", (1, 2), 1, 5.0, True, "status 500"),
            Row(8, "transfer.posted", (1, 2), 9, None, True, "x"),
        ]
        late = Written(old, Progress(100, [], rows), gone=True)
        assert store.write(CTX, [late]) == set()
        assert store.look(CTX, [old], renew_for_s=60) == {}
        assert store.find_claimed(CTX, old) is None
        store.release(CTX, [old])
        assert conn.execute("SELECT cursor, status, lease_until > now() FROM webhooks").fetchone() == (0, "enabled", True)
        assert conn.execute("SELECT count(*) FROM webhook_deliveries").fetchone() == (0,)
        assert store.write(CTX, [Written(new, Progress(100, [], rows), gone=False)]) == {new.key}
        assert conn.execute("SELECT cursor FROM webhooks").fetchone() == (100,)
        assert [(entry.event_id, entry.attempts) for entry in store.list_outstanding(CTX, new.key, now=0.0)] == [(7, 1)]
        assert store.list_dead_after(CTX, new.key, 0) == {8}
        assert store.write(CTX, [Written(new, Progress(50, [7], []), gone=False)]) == {new.key}
        assert conn.execute("SELECT cursor FROM webhooks").fetchone() == (100,), "it never goes back"
        assert store.list_outstanding(CTX, new.key, now=0.0) == []
    assert state(api, webhook)["dead"] == 1


def test_dead_letters_are_kept_for_a_time_and_in_number(api: ApiClient, database_url: str) -> None:
    """The oldest go first; what is above the cursor stays, for it says that its event is dealt with."""
    make(api, "https://a.example/")
    with open_pool(database_url) as pool, psycopg.connect(database_url, autocommit=True) as conn:
        store = DispatchRepository(pool, Queries(sql_folder() / "queries"))
        (lease,) = store.claim(CTX, lease_s=60, limit=10)
        rows = [Row(number, "transfer.posted", (1, 2), 9, None, True, "x") for number in range(1, 11)]
        store.write(CTX, [Written(lease, Progress(8, [], rows), gone=False)])
        conn.execute("UPDATE webhook_deliveries SET died_at = now() - interval '2 days' WHERE event_id IN (1, 2, 9)")

        def kept() -> list[int]:
            return [number for (number,) in conn.execute("SELECT event_id FROM webhook_deliveries ORDER BY 1").fetchall()]

        store.prune(CTX, [lease], keep_s=86_400, most=100)
        assert kept() == [3, 4, 5, 6, 7, 8, 9, 10]
        store.prune(CTX, [lease], keep_s=86_400, most=5)
        assert kept() == [6, 7, 8, 9, 10]
