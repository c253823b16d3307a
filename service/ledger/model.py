"""The rules of money in plain Python: the reference that `sql/functions/post_transfers.sql` is held against in the tests.

It is written for reading, one request after the other on dictionaries, and shares nothing with the function but the names of
the outcomes. What is undone it undoes by going back to a copy. Nothing in the running service uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from service.ledger.money import GREATEST_AMOUNT
from service.ledger.transfers import Kind, PostRequest


@dataclass
class ModelAccount:
    """An account; balances in minor units."""

    asset: str
    balance: int = 0
    held: int = 0
    min_balance: int | None = 0
    max_balance: int | None = None
    status: str = "open"
    version: int = 0


@dataclass(frozen=True)
class ModelTransfer:
    """A row of the log, without its id and the time it was made, which are the database's to give.

    `resolves` and `linked` are positions in the log: of what it resolves or reverses, and of the first of its group.
    """

    ledger_id: int
    from_account_id: int
    to_account_id: int
    amount: int
    asset: str
    from_version: int
    to_version: int
    from_balance: int
    to_balance: int
    from_held: int = 0
    kind: Kind = "transfer"
    resolves: int | None = None
    expires_at: datetime | None = None
    linked: int | None = None


@dataclass(frozen=True)
class ModelOutcome:
    """`verdict` is 'posted' or 'code field', in a group 'code field number'.

    `row` is the position in the log of the transfer that answers the request; `tried` is what a dry run tells.
    """

    verdict: str
    replayed: bool = False
    row: int | None = None
    tried: ModelTransfer | None = None


@dataclass
class Model:
    """All ledgers. Accounts are found by (ledger_id, account_id).

    `now` is the time that holds expire by. `named` has where each transfer is in the log by (ledger_id, id): ids are given by
    whoever drives the model.
    """

    accounts: dict[tuple[int, int], ModelAccount] = field(default_factory=dict)
    log: list[ModelTransfer] = field(default_factory=list)
    keys: dict[tuple[int, str], tuple[bytes, list[ModelOutcome]]] = field(default_factory=dict)
    named: dict[tuple[int, int], int] = field(default_factory=dict)
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def post(self, requests: Sequence[PostRequest]) -> list[ModelOutcome]:
        """Apply `requests` in order, each on its own, but those of a group all or none."""
        return [outcome for group in _groups(requests) for outcome in self._apply(group)]

    def open_holds(self) -> list[int]:
        """Where in the log the holds are that nothing has resolved."""
        resolved = {row.resolves for row in self.log}
        return [place for place, row in enumerate(self.log) if row.kind == "hold" and place not in resolved]

    def _apply(self, group: Sequence[PostRequest]) -> list[ModelOutcome]:
        first = group[0]
        spent = None if first.key is None else self.keys.get((first.ledger_id, first.key))
        if spent is not None:
            fingerprint, before = spent
            if fingerprint != first.fingerprint():
                return [ModelOutcome("idempotency_key_reused Idempotency-Key") for _ in group]
            return [ModelOutcome(outcome.verdict, outcome.row is not None, outcome.row) for outcome in before]
        outcomes = self._decide(group)
        if first.key is not None and not first.dry_run:
            self.keys[first.ledger_id, first.key] = (first.fingerprint(), outcomes)
        return outcomes

    def _decide(self, group: Sequence[PostRequest]) -> list[ModelOutcome]:
        accounts, length = deepcopy(self.accounts), len(self.log)
        outcomes: list[ModelOutcome] = []
        for number, request in enumerate(group):
            verdict = self.verdict(request)
            if verdict != "posted":
                self.accounts, self.log[length:] = accounts, []
                numbered = f"{verdict} {number}" if request.group is not None else verdict
                return [ModelOutcome(numbered) for _ in group]
            self._move(request, length if request.group is not None else None)
            outcomes.append(ModelOutcome("posted", row=len(self.log) - 1))
        if group[0].dry_run:
            outcomes = [ModelOutcome("posted", tried=row) for row in self.log[length:]]
            self.accounts, self.log[length:] = accounts, []
        return outcomes

    def _move(self, request: PostRequest, linked: int | None) -> None:
        source = self.accounts[request.ledger_id, request.from_account_id]
        target = self.accounts[request.ledger_id, request.to_account_id]
        if request.kind in ("transfer", "reversal", "capture"):
            source.balance -= request.amount
            target.balance += request.amount
        if request.kind == "hold":
            source.held += request.amount
        original = self._original(request)
        if request.kind in ("capture", "release", "expiry"):
            assert original is not None, "the rules want one"
            source.held -= self.log[original].amount
        source.version += 1
        target.version += 1
        lasts = None if request.expires_in_s is None else self.now + timedelta(seconds=request.expires_in_s)
        self.log.append(
            ModelTransfer(
                request.ledger_id, request.from_account_id, request.to_account_id, request.amount, source.asset,
                source.version, target.version, source.balance, target.balance, source.held, request.kind, original, lasts,
                linked,
            )
        )

    def verdict(self, request: PostRequest) -> str:
        """What the rules say of `request`, the first that applies."""
        if request.resolves_id is not None and (refused := self._verdict_on_original(request)):
            return refused
        if request.from_account_id == request.to_account_id:
            return "same_account to_account_id"
        source = self.accounts.get((request.ledger_id, request.from_account_id))
        target = self.accounts.get((request.ledger_id, request.to_account_id))
        if source is None:
            return "not_found from_account_id"
        if target is None:
            return "not_found to_account_id"
        if source.asset != target.asset:
            return "asset_mismatch to_account_id"
        if request.asset is not None and request.asset != source.asset:
            return "asset_mismatch asset"
        if request.kind in ("release", "expiry"):  # what gives money free is never in anybody's way
            return "posted"
        for status in ("closed", "frozen"):
            for account, name in ((source, "from_account_id"), (target, "to_account_id")):
                if account.status == status:
                    return f"account_{status} {name}"
        if request.if_from_version is not None and request.if_from_version != source.version:
            return "version_mismatch if_from_version"
        return self._verdict_on_limits(request, source, target)

    def _verdict_on_limits(self, request: PostRequest, source: ModelAccount, target: ModelAccount) -> str:
        amount = request.amount
        is_free = request.kind != "capture"  # what is captured is held, and counts as spent already
        if is_free and source.min_balance is not None and source.balance - source.held - amount < source.min_balance:
            return "insufficient_funds amount"
        if request.kind == "hold":
            return "posted" if source.held + amount <= GREATEST_AMOUNT else "limit_exceeded from_account_id"
        if source.balance - amount < -GREATEST_AMOUNT:
            return "limit_exceeded from_account_id"
        ceiling = GREATEST_AMOUNT if target.max_balance is None else min(target.max_balance, GREATEST_AMOUNT)
        return "posted" if target.balance + amount <= ceiling else "limit_exceeded to_account_id"

    def _original(self, request: PostRequest) -> int | None:
        return None if request.resolves_id is None else self.named.get((request.ledger_id, request.resolves_id))

    def _verdict_on_original(self, request: PostRequest) -> str | None:
        """What the rules say of the row that is to be resolved or reversed; None when nothing is wrong with it."""
        place = self._original(request)
        unknown = "not_found transfer_id" if request.kind == "reversal" else "not_found hold_id"
        if place is None:
            return unknown
        row = self.log[place]
        sides = (request.from_account_id, request.to_account_id)
        there = (row.from_account_id, row.to_account_id)
        if sides != (there[::-1] if request.kind == "reversal" else there):
            return unknown
        if request.kind != "capture" and request.amount != row.amount:
            return unknown
        is_resolved = any(later.resolves == place for later in self.log)
        if request.kind == "reversal":
            if row.kind not in ("transfer", "capture"):
                return "not_reversible transfer_id"
            return "already_reversed transfer_id" if is_resolved else None
        if row.kind != "hold":
            return "not_a_hold hold_id"
        if is_resolved:
            return "hold_resolved hold_id"
        has_expired = row.expires_at is not None and row.expires_at <= self.now
        if request.kind == "expiry":
            return None if has_expired else "conflict hold_id"
        if has_expired:
            return "hold_resolved hold_id"
        return "limit_exceeded amount" if request.kind == "capture" and request.amount > row.amount else None


def _groups(requests: Sequence[PostRequest]) -> Iterator[list[PostRequest]]:
    """Neighbours of one group together, and each request without a group by itself."""
    for _, group in groupby(enumerate(requests), key=lambda each: id(each[1].group) if each[1].group else -each[0]):
        yield [request for _, request in group]
