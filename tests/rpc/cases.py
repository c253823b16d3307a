"""One table of cases, as requests of HTTP and as calls of gRPC: what both must answer alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GREATEST = 2**53 - 1
EXACT = 2**63 - 1


@dataclass(frozen=True)
class Case:
    """The HTTP request, and the call that is the same; `headers` are sent by both, by HTTP's names with underscores.

    HOLD is the id of the last hold, FIRST that of the first transfer,
    LAST that of the account made last.
    """

    request: str
    body: dict[str, Any] | None
    call: str
    fields: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def same(request: str, call: str, fields: dict[str, Any], **headers: str) -> Case:
    """A case whose body and fields are the same."""
    return Case(request, fields, call, fields, headers)


def read(path: str, call: str, fields: dict[str, Any] | None = None, **headers: str) -> Case:
    """A case without a body."""
    return Case(f"GET {path}", None, call, fields or {}, headers)


POST, CREATE = "POST /api/transfers", "CreateTransfer"
USER, ACCOUNT = "POST /api/users", "POST /api/accounts"
GOOD = {"from_account_id": 1, "to_account_id": 2, "amount": 100}
TREE = {"s": "ü", "n": -5, "t": True, "z": None, "l": [1, "a", [None], {"x": {}}], "o": {"deep": {"er": 1}}}

CASES = [
    # users
    same(USER, "CreateUser", {"name": "Ada", "email": "ada@example.com"}),
    same(USER, "CreateUser", {"name": "Bob", "email": "bob@example.com", "metadata": TREE}),
    same(USER, "CreateUser", {"name": "Eve", "email": "ada@example.com"}),
    same(USER, "CreateUser", {"name": "", "email": "x"}),
    same(USER, "CreateUser", {"email": "x@example.com"}),
    same(USER, "CreateUser", {"name": "n\x00", "email": "n@example.com"}),
    same(USER, "CreateUser", {"name": "x" * 201, "email": "x@example.com"}),
    same(USER, "CreateUser", {"name": "M", "email": "m@example.com", "metadata": {"n": 1.5}}),
    same(USER, "CreateUser", {"name": "M", "email": "m@example.com", "metadata": {"n": 2.0**60}}),
    same(USER, "CreateUser", {"name": "M", "email": "m@example.com", "metadata": {"a": {"b": {"c": {"d": {"e": {}}}}}}}),
    same(USER, "CreateUser", {"name": "M", "email": "m@example.com", "metadata": {"x": "y" * 20_000}}),
    read("/api/users/1", "GetUser", {"id": 1}),
    read("/api/users/2", "GetUser", {"id": 2}, Cache_Control="no-cache"),
    read("/api/users/0", "GetUser", {"id": 0}),
    read("/api/users/-1", "GetUser", {"id": -1}),
    read(f"/api/users/{EXACT}", "GetUser", {"id": EXACT}),
    read("/api/users/77", "GetUser", {"id": 77}),
    read("/api/users/1", "GetUser", {"id": 1}, Authorization="Bearer nonsense"),
    read("/api/users/1", "GetUser", {"id": 1}, Authorization="Basic nonsense"),
    read("/api/users/1", "GetUser", {"id": 1}, Ledger_Position="none of ours"),
    read("/api/users?limit=1", "ListUsers", {"limit": 1}),
    read("/api/users?limit=0", "ListUsers", {"limit": 0}),
    read("/api/users?limit=-1", "ListUsers", {"limit": -1}),
    read("/api/users?limit=101", "ListUsers", {"limit": 101}),
    read("/api/users?cursor=forged", "ListUsers", {"cursor": "forged"}),
    read("/api/users?email=ada%40example.com", "ListUsers", {"email": "ada@example.com"}),
    read("/api/users?email=%00", "ListUsers", {"email": "\x00"}),
    Case("PUT /api/users/1", {"name": "A", "email": "a@example.com"}, "UpdateUser",
         {"id": 1, "name": "A", "email": "a@example.com"}, {"If_Match": '"9"'}),
    Case("PUT /api/users/1", {"name": "A", "email": "a@example.com"}, "UpdateUser",
         {"id": 1, "name": "A", "email": "a@example.com"}, {"If_Match": "1"}),
    Case("PUT /api/users/1", {"name": "A", "email": "a@example.com"}, "UpdateUser",
         {"id": 1, "name": "A", "email": "a@example.com"}, {"If_Match": '"1"'}),
    Case("PUT /api/users/1", {"name": "A", "email": "bob@example.com"}, "UpdateUser",
         {"id": 1, "name": "A", "email": "bob@example.com"}),
    Case("PUT /api/users/99", {"name": "A", "email": "a9@example.com"}, "UpdateUser",
         {"id": 99, "name": "A", "email": "a9@example.com"}),
    # accounts
    Case(ACCOUNT, {"asset": "USD/2", "min_balance": None}, "CreateAccount", {"asset": "USD/2", "without_min_balance": True}),
    same(ACCOUNT, "CreateAccount", {"asset": "USD/2", "user_id": 1, "max_balance": 1_000}),
    same(ACCOUNT, "CreateAccount", {"asset": "EUR/2", "min_balance": -500, "metadata": TREE}),
    same(ACCOUNT, "CreateAccount", {"asset": "usd"}),
    same(ACCOUNT, "CreateAccount", {}),
    same(ACCOUNT, "CreateAccount", {"asset": "USD/2", "user_id": 99}),
    same(ACCOUNT, "CreateAccount", {"asset": "USD/2", "user_id": 0}),
    same(ACCOUNT, "CreateAccount", {"asset": "USD/2", "min_balance": 1}),
    same(ACCOUNT, "CreateAccount", {"asset": "USD/2", "min_balance": -EXACT}),
    same(ACCOUNT, "CreateAccount", {"asset": "USD/2", "max_balance": -1}),
    read("/api/accounts/1", "GetAccount", {"id": 1}),
    read("/api/accounts/3", "GetAccount", {"id": 3}),
    read("/api/accounts/99", "GetAccount", {"id": 99}),
    read("/api/accounts?user_id=1", "ListAccounts", {"user_id": 1}),
    read("/api/accounts?user_id=0", "ListAccounts", {"user_id": 0}),
    read("/api/accounts?limit=2", "ListAccounts", {"limit": 2}),
    Case("PATCH /api/accounts/3", {"status": "frozen", "metadata": {}}, "UpdateAccount",
         {"id": 3, "status": "ACCOUNT_STATUS_FROZEN", "metadata": {}}),
    Case("PATCH /api/accounts/3", {"status": "open", "min_balance": None}, "UpdateAccount",
         {"id": 3, "status": "ACCOUNT_STATUS_OPEN", "without_min_balance": True}),
    Case("PATCH /api/accounts/3", {"max_balance": 5_000}, "UpdateAccount", {"id": 3, "max_balance": 5_000},
         {"If_Match": '"nothing"'}),
    Case("PATCH /api/accounts/3", {}, "UpdateAccount", {"id": 3}),
    Case("PATCH /api/accounts/3", {"status": "77"}, "UpdateAccount", {"id": 3, "status": 77}),
    Case("PATCH /api/accounts/99", {"max_balance": 1}, "UpdateAccount", {"id": 99, "max_balance": 1}),
    # transfers
    same(POST, CREATE, GOOD),
    same(POST, CREATE, {**GOOD, "reference": "r", "metadata": TREE, "asset": "USD/2"}, Idempotency_Key="k1"),
    same(POST, CREATE, {**GOOD, "reference": "r", "metadata": TREE, "asset": "USD/2"}, Idempotency_Key='"k1"'),
    same(POST, CREATE, GOOD, Idempotency_Key="k1"),
    same(POST, CREATE, GOOD, Idempotency_Key=""),
    same(POST, CREATE, GOOD, Idempotency_Key="with space"),
    same(POST, CREATE, GOOD, Idempotency_Key="x" * 256),
    same(POST, CREATE, {**GOOD, "amount": 0}),
    same(POST, CREATE, {**GOOD, "amount": -1}),
    same(POST, CREATE, {**GOOD, "amount": GREATEST + 1}),
    same(POST, CREATE, {**GOOD, "amount": EXACT}),
    same(POST, CREATE, {**GOOD, "amount": 901}),  # above max_balance
    same(POST, CREATE, {"to_account_id": 2, "amount": 5}),
    same(POST, CREATE, {**GOOD, "from_account_id": -7}),
    same(POST, CREATE, {**GOOD, "from_account_id": 2, "to_account_id": 1, "amount": 10**6}),
    same(POST, CREATE, {**GOOD, "from_account_id": 2, "to_account_id": 1, "amount": 10**6}, Idempotency_Key="refused"),
    same(POST, CREATE, {**GOOD, "to_account_id": 3}),
    same(POST, CREATE, {**GOOD, "asset": "EUR/2"}),
    same(POST, CREATE, {**GOOD, "to_account_id": 77}),
    same(POST, CREATE, {**GOOD, "to_account_id": 1}),
    same(POST, CREATE, {**GOOD, "reference": ""}),
    same(POST, CREATE, {**GOOD, "reference": "x" * 256}),
    same(POST, CREATE, {**GOOD, "if_from_version": 99}),
    same(POST, CREATE, {**GOOD, "if_from_version": -1}),
    same(POST, CREATE, {**GOOD, "if_from_version": 2}),
    same(POST, CREATE, {**GOOD, "expires_in_s": 600}),
    same(POST, CREATE, {**GOOD, "hold": True, "expires_in_s": 0}),
    same(POST, CREATE, {**GOOD, "hold": True, "expires_in_s": 600}),
    same(POST, CREATE, {**GOOD, "hold": False}),
    Case(f"{POST}?dry_run=true", GOOD, CREATE, {**GOOD, "dry_run": True}),
    Case(f"{POST}?dry_run=false", GOOD, CREATE, {**GOOD, "dry_run": False}),
    Case(f"{POST}?dry_run=true", {**GOOD, "amount": 10**9}, CREATE, {**GOOD, "amount": 10**9, "dry_run": True}),
    read("/api/transfers/FIRST", "GetTransfer", {"id": "FIRST"}),
    read("/api/transfers/0", "GetTransfer", {"id": 0}),
    read("/api/transfers?limit=3", "ListTransfers", {"limit": 3}),
    read("/api/transfers?account_id=2&limit=2", "ListTransfers", {"account_id": 2, "limit": 2}),
    read("/api/transfers?reference=r", "ListTransfers", {"reference": "r"}),
    read("/api/transfers?reference=", "ListTransfers", {"reference": ""}),
    read("/api/transfers?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", "ListTransfers",
         {"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}),
    read("/api/transfers?from=2020-01-03T00:00:00Z&to=2020-01-02T00:00:00Z", "ListTransfers",
         {"since": "2020-01-03T00:00:00Z", "until": "2020-01-02T00:00:00Z"}),
    # statements and balances
    read("/api/accounts/2/balance", "GetBalance", {"account_id": 2}),
    read("/api/accounts/99/balance", "GetBalance", {"account_id": 99}),
    read("/api/accounts/2/balance?at=2020-01-01T00:00:00.5Z", "GetBalance", {"account_id": 2, "at": "2020-01-01T00:00:00.5Z"}),
    read("/api/accounts/2/entries?limit=2", "ListEntries", {"account_id": 2, "limit": 2}),
    read("/api/accounts/2/entries?direction=debit", "ListEntries",
         {"account_id": 2, "direction": "ENTRY_DIRECTION_DEBIT"}),
    read("/api/accounts/1/entries?order=asc&limit=3", "ListEntries",
         {"account_id": 1, "order": "ENTRY_ORDER_ASC", "limit": 3}),
    read("/api/accounts/2/entries?direction=9", "ListEntries", {"account_id": 2, "direction": 9}),
    read("/api/accounts/99/entries", "ListEntries", {"account_id": 99}),
    # several together
    same(f"{POST}/linked", "CreateLinkedTransfers", {"transfers": [GOOD, {**GOOD, "amount": 1, "reference": "fee"}]},
         Idempotency_Key="linked-1"),
    same(f"{POST}/linked", "CreateLinkedTransfers", {"transfers": [GOOD, {**GOOD, "amount": 1, "reference": "fee"}]},
         Idempotency_Key="linked-1"),
    same(f"{POST}/linked", "CreateLinkedTransfers", {"transfers": [GOOD, {**GOOD, "to_account_id": 77}]}),
    same(f"{POST}/linked", "CreateLinkedTransfers", {"transfers": [GOOD, {"amount": 0, "metadata": {"n": 1.5}}]}),
    same(f"{POST}/linked", "CreateLinkedTransfers", {"transfers": [GOOD]}),
    same(f"{POST}/linked", "CreateLinkedTransfers", {}),
    Case(f"{POST}/linked?dry_run=true", {"transfers": [GOOD, GOOD]}, "CreateLinkedTransfers",
         {"transfers": [GOOD, GOOD], "dry_run": True}),
    # what is done to a hold, or to a transfer
    same(POST, CREATE, {**GOOD, "amount": 50, "hold": True, "reference": "held"}, Idempotency_Key="hold-1"),
    Case("POST /api/transfers/HOLD/capture", {"amount": 51}, "CaptureHold", {"hold_id": "HOLD", "amount": 51}),
    Case("POST /api/transfers/HOLD/capture?dry_run=true", {}, "CaptureHold", {"hold_id": "HOLD", "dry_run": True}),
    Case("POST /api/transfers/HOLD/capture", {"amount": 30, "reference": "part"}, "CaptureHold",
         {"hold_id": "HOLD", "amount": 30, "reference": "part"}, {"Idempotency_Key": "capture-1"}),
    Case("POST /api/transfers/HOLD/capture", {"amount": 30, "reference": "part"}, "CaptureHold",
         {"hold_id": "HOLD", "amount": 30, "reference": "part"}, {"Idempotency_Key": "capture-1"}),
    Case("POST /api/transfers/HOLD/release", {}, "ReleaseHold", {"hold_id": "HOLD"}),
    same(POST, CREATE, {**GOOD, "amount": 20, "hold": True}),
    Case("POST /api/transfers/HOLD/release", {"metadata": {"why": "x"}}, "ReleaseHold",
         {"hold_id": "HOLD", "metadata": {"why": "x"}}),
    Case("POST /api/transfers/HOLD/release", {}, "ReleaseHold", {"hold_id": "HOLD"}),
    Case("POST /api/transfers/FIRST/capture", {}, "CaptureHold", {"hold_id": "FIRST"}),
    Case("POST /api/transfers/0/capture", {}, "CaptureHold", {"hold_id": 0}),
    Case("POST /api/transfers/FIRST/reverse", {"reference": "back"}, "ReverseTransfer",
         {"transfer_id": "FIRST", "reference": "back"}),
    Case("POST /api/transfers/FIRST/reverse", {}, "ReverseTransfer", {"transfer_id": "FIRST"}),
    Case("POST /api/transfers/HOLD/reverse", {}, "ReverseTransfer", {"transfer_id": "HOLD"}),
    read("/api/transfers/HOLD", "GetTransfer", {"id": "HOLD"}),
    # the end of things
    Case("PATCH /api/accounts/2", {"status": "closed"}, "UpdateAccount", {"id": 2, "status": "ACCOUNT_STATUS_CLOSED"}),
    same(ACCOUNT, "CreateAccount", {"asset": "USD/2"}),
    Case("PATCH /api/accounts/LAST", {"status": "closed"}, "UpdateAccount",
         {"id": "LAST", "status": "ACCOUNT_STATUS_CLOSED"}),
    Case(POST, {**GOOD, "to_account_id": "LAST"}, CREATE, {**GOOD, "to_account_id": "LAST"}),
    Case("PATCH /api/accounts/2", {"status": "frozen"}, "UpdateAccount", {"id": 2, "status": "ACCOUNT_STATUS_FROZEN"}),
    same(POST, CREATE, GOOD),
    Case("DELETE /api/users/1", None, "DeleteUser", {"id": 1}),
    Case("DELETE /api/users/2", None, "DeleteUser", {"id": 2}, {"If_Match": '"5"'}),
    Case("DELETE /api/users/2", None, "DeleteUser", {"id": 2}),
    Case("DELETE /api/users/2", None, "DeleteUser", {"id": 2}),
]
