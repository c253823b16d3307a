"""The fields' own checks and the JSON schemas beside them say the same, at the edges of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.api import schemas
from service.ledger.money import GREATEST_AMOUNT, GREATEST_ID
from tests.contract.document import contract

USER = {"name": "Ada", "email": "ada@example.com"}
ACCOUNT = {"asset": "USD/2"}
TRANSFER = {"from_account_id": 1, "to_account_id": 2, "amount": 5}
EDGES: dict[str, list[Any]] = {
    "name": ["A", "", "n" * 200, "n" * 201, "a\x00b", "😀" * 200, 5, None],
    "email": [
        "a@b", "@b", "a@", "ab", "a@b@c", "a b@c", "a\n@c", "a@c\u200b", "a\xa0@c", "ü@ü", "😀@b", "a" * 252 + "@b",
        "a" * 253 + "@b", None,
    ],
    "metadata": [
        {}, [], "x", {"a": [1, "b", None, True, {}]}, {"a": 2**53}, {"a": -(2**53)}, {"a\x00": 1}, {"a": "\x00"},
        {"a": [[[[]]]]}, {"a": [[[[1]]]]}, {"a": [[[[[]]]]]},
        {"a": {"b": {"c": {"d": {}}}}}, {"a": {"b": {"c": {"d": {"e": {}}}}}},
    ],
    "asset": ["USD/2", "USD/18", "USD/19", "USD/02", "usd/2", "A" * 16 + "/0", "A" * 17 + "/0", "/2", "2A/0", 5, None],
    "id": [0, 1, -1, GREATEST_ID, GREATEST_ID + 1, "1", True, None],
    "amount": [0, 1, -1, GREATEST_AMOUNT, GREATEST_AMOUNT + 1, -GREATEST_AMOUNT, -GREATEST_AMOUNT - 1, "5", True, None, 1.5],
    "status": ["open", "frozen", "closed", "Open", "", 1, None],
    "ledger": ["shop", "Shop", "-a", "a", "a" * 63, "a" * 64, "a b", "", None],
    "scopes": [["read"], ["read", "users:write"], [], ["read", "read"], ["ledgers:read"], ["no"], "read", None],
    "accounts": [[1], [1, 2], [1, 1], [0], list(range(1, 102)), ["1"], None],
    "time": [
        "2027-01-31T09:30:00Z", "2027-01-31T09:30:00.123456+02:00", "2027-01-31T09:30:00", "2027-02-31T09:30:00Z", "", None,
    ],
    "url": [
        "https://a.example", "http://a.example:8080/b?c=%20#", "http://a.example:8080/b?c=%20", "http://[::1]/",
        "service://a/b",
        "service://A/b", "ftp://a.example/", "https://u@a.example/", "https://a.example/ b", "https://a.example:0/",
        "", 5, None,
        "https://a.example/" + "b" * 2030, "https://a.example/" + "b" * 2031, "https://ä.example/",
    ],
    "types": [["transfer.posted"], ["hold.placed", "account.created"], [], ["transfer"], ["hold.placed", "hold.placed"], None],
    "webhook_status": ["enabled", "disabled", "gone", None],
    "reference": ["r", "", "r" * 255, "r" * 256, "\x00", None, 5],
}


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of a schema, and a value for it: one field at its edge, or left out, or one too many."""
    tried = [
        ("UserInput", USER, {"name": "name", "email": "email", "metadata": "metadata"}),
        ("AccountInput", ACCOUNT, {"asset": "asset", "user_id": "id", "min_balance": "amount", "max_balance": "amount"}),
        ("AccountChanges", {"status": "open"}, {"status": "status", "min_balance": "amount", "max_balance": "amount"}),
        ("TransferInput", TRANSFER, {
            "from_account_id": "id", "to_account_id": "id", "amount": "amount", "asset": "asset", "reference": "reference",
            "metadata": "metadata", "if_from_version": "amount",
        }),
        ("LedgerInput", {"name": "shop"}, {"name": "ledger"}),
        ("KeyInput", {"scopes": ["read"]}, {
            "name": "reference", "scopes": "scopes", "expires_in_s": "amount", "expires_at": "time",
            "debit_accounts": "accounts", "rate_per_s": "amount", "burst": "amount", "ledger": "ledger",
        }),
        ("WebhookInput", {"url": "https://a.example/"}, {
            "url": "url", "types": "types", "account_ids": "accounts", "description": "name", "after": "id",
        }),
        ("WebhookChanges", {"status": "enabled"}, {
            "url": "url", "types": "types", "account_ids": "accounts", "description": "name", "status": "webhook_status",
        }),
        ("SecretRotationInput", {"overlap_s": 0}, {"overlap_s": "amount"}),
        ("RotationInput", {"overlap_s": 0}, {"overlap_s": "amount"}),
    ]
    for schema, good, fields in tried:
        yield schema, good
        yield schema, {**good, "more": 1}
        if not schema.endswith("Changes"):  # its handler asks for a change, where the document has `minProperties`
            yield from ((schema, {name: value for name, value in good.items() if name != left_out}) for left_out in good)
        for field, kind in fields.items():
            yield from ((schema, {**good, field: value}) for value in EDGES[kind])


def test_the_two_judge_alike() -> None:
    """What the fields accept the document accepts, and nothing else."""
    judged = {True: 0, False: 0}
    for schema, value in cases():
        by_fields = getattr(schemas, schema)().validate(value) == {}
        wrong = contract().accepts(f"/components/schemas/{schema}", value)
        assert by_fields is (wrong == ""), f"{schema} {value!r}: {wrong or 'accepted by the document alone'}"
        judged[by_fields] += 1
    assert min(judged.values()) > 30
