"""Random histories of everything that moves money, over HTTP, held against the rules in plain Python after each step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from service.app import Application
from service.ledger.model import Model, ModelAccount, ModelOutcome
from service.ledger.transfers import PostRequest, link
from tests.client import ApiClient, Reply
from tests.conftest import make_key
from tests.invariants import check_invariants

LEDGER = 1  # in the model; over HTTP the key names it
OPENED: tuple[dict[str, Any], ...] = (
    {"min_balance": None}, {}, {}, {"min_balance": -20, "max_balance": 60}, {"min_balance": None, "asset": "JPY/0"},
)
_numbers = count(1)
places = st.integers(0, len(OPENED) - 1)
amounts = st.one_of(st.integers(1, 30), st.integers(1, 200))
keys = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))
legs = st.tuples(places, places, amounts, st.booleans())


class Money(RuleBasedStateMachine):
    """A ledger of its own, and the model of it."""

    def __init__(self, application: Application, database_url: str) -> None:
        super().__init__()
        self.database_url = database_url
        self.api = ApiClient(application, make_key(database_url, f"machine-{next(_numbers)}"))
        self.model = Model()
        self.accounts: list[int] = []
        self.ids: list[int] = []  # of the rows of the model's log
        for fields in OPENED:
            account = self.api.account(**fields)
            self.accounts.append(account["id"])
            self.model.accounts[LEDGER, account["id"]] = ModelAccount(
                account["asset"], min_balance=account["min_balance"], max_balance=account["max_balance"]
            )
        self.transfer((0, 1, 100, False), None, False)

    @rule(leg=legs, key=keys, dry_run=st.sampled_from([False, False, True]))
    def transfer(self, leg: tuple[int, int, int, bool], key: str | None, dry_run: bool) -> None:
        """Move or hold, or only try to."""
        reply = self.send("/api/transfers", self.body(leg), key, dry_run)
        self.compare(reply, [self.request(leg, key, dry_run)])

    @rule(several=st.lists(legs, min_size=2, max_size=4), key=keys, dry_run=st.sampled_from([False, False, True]))
    def linked(self, several: list[tuple[int, int, int, bool]], key: str | None, dry_run: bool) -> None:
        """All or none."""
        reply = self.send("/api/transfers/linked", {"transfers": [self.body(leg) for leg in several]}, key, dry_run)
        self.compare(reply, link([self.request(leg, key, dry_run) for leg in several]))

    @precondition(lambda self: self.model.log)
    @rule(
        pick=st.integers(0, 60), of_holds=st.booleans(), what=st.sampled_from(["capture", "release", "reverse"]),
        amount=st.one_of(st.none(), amounts), key=keys, dry_run=st.sampled_from([False, False, False, True]),
    )
    def resolve(self, pick: int, of_holds: bool, what: str, amount: int | None, key: str | None, dry_run: bool) -> None:
        """Do something to a row of before, most often one that it may be done to."""
        suited = [place for place, row in enumerate(self.model.log) if (row.kind == "hold") == of_holds]
        candidates = suited or list(range(len(self.model.log)))
        place = candidates[pick % len(candidates)]
        row = self.model.log[place]
        body = {"amount": amount} if what == "capture" else {}
        reply = self.send(f"/api/transfers/{self.ids[place]}/{what}", body, key, dry_run)
        sides = (row.from_account_id, row.to_account_id)
        source, target = sides[::-1] if what == "reverse" else sides
        request = PostRequest(
            ledger_id=LEDGER, from_account_id=source, to_account_id=target,
            amount=amount if what == "capture" and amount is not None else row.amount,
            key=key, kind="reversal" if what == "reverse" else what, resolves_id=self.ids[place], dry_run=dry_run,
        )
        self.compare(reply, [request])

    @rule(place=places, status=st.sampled_from(["frozen", "open", "open"]))
    def set_status(self, place: int, status: str) -> None:
        """Freeze an account, or open it again."""
        assert self.change(place, {"status": status}).status == 200
        self.account(place).status = status

    @rule(place=places, floor=st.one_of(st.none(), st.integers(-50, 100)))
    def set_floor(self, place: int, floor: int | None) -> None:
        """Refused where less is available."""
        reply, account = self.change(place, {"min_balance": floor}), self.account(place)
        if floor is not None and account.balance - account.held < floor:
            assert (reply.code, reply.fields) == ("conflict", ["min_balance"])
        else:
            assert reply.status == 200
            account.min_balance = floor

    @rule(place=places, ceiling=st.one_of(st.none(), st.integers(0, 300)))
    def set_ceiling(self, place: int, ceiling: int | None) -> None:
        """Refused where the balance is above it, whatever is held."""
        reply, account = self.change(place, {"max_balance": ceiling}), self.account(place)
        if ceiling is not None and account.balance > ceiling:
            assert (reply.code, reply.fields) == ("conflict", ["max_balance"])
        else:
            assert reply.status == 200
            account.max_balance = ceiling

    @invariant()
    def accounts_are_as_in_the_model(self) -> None:
        """Balance, held and version of each; they sum to zero, none is below its floor, and held is what is open."""
        found = {account["id"]: account for account in self.api.get("/api/accounts").json["data"]}
        held = dict.fromkeys(self.accounts, 0)
        for place in self.model.open_holds():
            held[self.model.log[place].from_account_id] += self.model.log[place].amount
        for number, account in found.items():
            modelled = self.model.accounts[LEDGER, number]
            told = (account["balance"], account["held"], account["version"])
            assert told == (modelled.balance, modelled.held, modelled.version)
            assert account["held"] == held[number]
            assert account["min_balance"] is None or account["available"] >= account["min_balance"]
        assert sum(account["balance"] for account in found.values()) == 0

    def teardown(self) -> None:
        """The log tells what became of each row, and the tables are in order."""
        resolved = {row.resolves: place for place, row in enumerate(self.model.log) if row.resolves is not None}
        for place, row in enumerate(self.model.log):
            told = self.api.get(f"/api/transfers/{self.ids[place]}").json
            by = resolved.get(place)
            assert (told["kind"], told["amount"], told["from_held"]) == (row.kind, row.amount, row.from_held)
            assert told["resolved_by_id"] == (None if by is None else self.ids[by])
            assert told["resolves_id"] == (None if row.resolves is None else self.ids[row.resolves])
        check_invariants(self.database_url)

    def body(self, leg: tuple[int, int, int, bool]) -> dict[str, Any]:
        source, target, amount, hold = leg
        sides = {"from_account_id": self.accounts[source], "to_account_id": self.accounts[target]}
        return {**sides, "amount": amount, "hold": hold}

    def request(self, leg: tuple[int, int, int, bool], key: str | None, dry_run: bool) -> PostRequest:
        source, target, amount, hold = leg
        return PostRequest(
            ledger_id=LEDGER, from_account_id=self.accounts[source], to_account_id=self.accounts[target], amount=amount,
            key=key, kind="hold" if hold else "transfer", dry_run=dry_run,
        )

    def send(self, path: str, body: dict[str, Any], key: str | None, dry_run: bool) -> Reply:
        headers = {} if key is None else {"Idempotency_Key": key}
        return self.api.post(path + "?dry_run=true" * dry_run, body, **headers)

    def change(self, place: int, changes: dict[str, Any]) -> Reply:
        return self.api.call("PATCH", f"/api/accounts/{self.accounts[place]}", changes)

    def account(self, place: int) -> ModelAccount:
        return self.model.accounts[LEDGER, self.accounts[place]]

    def compare(self, reply: Reply, requests: list[PostRequest]) -> None:
        """The answer is what the model says of the same requests, and the model hears of the ids."""
        outcomes = self.model.post(requests)
        if outcomes[0].verdict != "posted":
            assert (reply.code, reply.fields) == refusal(outcomes[0])
            return
        is_new = outcomes[0].row is not None and not outcomes[0].replayed
        assert reply.status == (201 if is_new else 200), reply.body
        assert (reply.headers.get("Idempotency-Replayed") == "true") == outcomes[0].replayed
        for transfer, outcome in zip(reply.json.get("transfers", [reply.json]), outcomes, strict=True):
            row = outcome.tried if outcome.row is None else self.model.log[outcome.row]
            assert row is not None
            names = ("kind", "amount", "from_version", "to_version", "from_balance", "to_balance", "from_held")
            assert [transfer[name] for name in names] == [getattr(row, name) for name in names]
            if is_new:
                self.ids.append(transfer["id"])
                self.model.named[LEDGER, transfer["id"]] = len(self.ids) - 1
            assert transfer["id"] == (None if outcome.row is None else self.ids[outcome.row])


def refusal(outcome: ModelOutcome) -> tuple[str, list[str]]:
    """The code and the field that a client is told."""
    code, field, *number = outcome.verdict.split(" ")
    return code, [f"transfers[{number[0]}].{field}" if number else field]


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the pool's own threads do, at any moment
def test_histories_of_money(application: Application, database_url: str) -> None:
    """Holds, captures, releases, reversals, links, limits, freezing and dry runs, with keys that come again."""
    machine: Callable[[], Money] = lambda: Money(application, database_url)  # noqa: E731  # what Hypothesis calls for each history
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)),
    )
