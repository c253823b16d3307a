"""The rules of money in plain Python: the reference that `sql/functions/post_transfers.sql` is held against in the tests.

It is written for reading, one request after the other on dictionaries, and shares nothing with the function but the names of
the outcomes. Nothing in the running service uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.ledger.money import GREATEST_AMOUNT
from service.ledger.transfers import PostRequest


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
    """A row of the log, without its id and time, which are the database's to give."""

    ledger_id: int
    from_account_id: int
    to_account_id: int
    amount: int
    asset: str
    from_version: int
    to_version: int
    from_balance: int
    to_balance: int


@dataclass(frozen=True)
class ModelOutcome:
    """`verdict` is 'posted' or 'code field'; `row` is the position in the log of the transfer that answers the request."""

    verdict: str
    replayed: bool = False
    row: int | None = None


@dataclass
class Model:
    """All ledgers. Accounts are found by (ledger_id, account_id)."""

    accounts: dict[tuple[int, int], ModelAccount] = field(default_factory=dict)
    log: list[ModelTransfer] = field(default_factory=list)
    keys: dict[tuple[int, str], tuple[bytes, ModelOutcome]] = field(default_factory=dict)

    def post(self, requests: Sequence[PostRequest]) -> list[ModelOutcome]:
        """Apply `requests` in order, each on its own."""
        return [self._apply(request) for request in requests]

    def _apply(self, request: PostRequest) -> ModelOutcome:
        if request.key is None:
            return self._decide(request)
        spent = self.keys.get((request.ledger_id, request.key))
        if spent is None:
            outcome = self._decide(request)
            self.keys[request.ledger_id, request.key] = (request.fingerprint(), outcome)
            return outcome
        fingerprint, outcome = spent
        if fingerprint != request.fingerprint():
            return ModelOutcome("idempotency_key_reused Idempotency-Key")
        return ModelOutcome(outcome.verdict, outcome.row is not None, outcome.row)

    def _decide(self, request: PostRequest) -> ModelOutcome:
        verdict = self.verdict(request)
        if verdict != "posted":
            return ModelOutcome(verdict)
        source = self.accounts[request.ledger_id, request.from_account_id]
        target = self.accounts[request.ledger_id, request.to_account_id]
        source.balance -= request.amount
        source.version += 1
        target.balance += request.amount
        target.version += 1
        self.log.append(
            ModelTransfer(
                request.ledger_id, request.from_account_id, request.to_account_id, request.amount, source.asset,
                source.version, target.version, source.balance, target.balance,
            )
        )
        return ModelOutcome("posted", row=len(self.log) - 1)

    def verdict(self, request: PostRequest) -> str:
        """What the rules say of `request`, the first that applies."""
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
        for status in ("closed", "frozen"):
            for account, name in ((source, "from_account_id"), (target, "to_account_id")):
                if account.status == status:
                    return f"account_{status} {name}"
        if request.if_from_version is not None and request.if_from_version != source.version:
            return "version_mismatch if_from_version"
        if source.min_balance is not None and source.balance - source.held - request.amount < source.min_balance:
            return "insufficient_funds amount"
        if source.balance - request.amount < -GREATEST_AMOUNT:
            return "limit_exceeded from_account_id"
        ceiling = GREATEST_AMOUNT if target.max_balance is None else min(target.max_balance, GREATEST_AMOUNT)
        if target.balance + request.amount > ceiling:
            return "limit_exceeded to_account_id"
        return "posted"
