"""What keys may give each other: nobody gives what he does not hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.errors import Forbidden
from service.ledger.grants import Defaults, Grant, check_grant
from service.ledger.principal import Principal
from service.ledger.scopes import expand

END = datetime(2027, 1, 1, tzinfo=UTC)
NO_DEFAULTS = Defaults()
PLAIN = Principal(1, "k", expand(["admin"]))


def blamed(giver: Principal, grant: Grant, defaults: Defaults = NO_DEFAULTS) -> list[str]:
    """The parts of `grant` that are refused."""
    try:
        check_grant(giver, grant, defaults)
    except Forbidden as error:
        return [problem.field for problem in error.fields]
    return []


@pytest.mark.parametrize(
    ("scopes", "gives"),
    [
        (["admin"], True), (["write"], True), (["users:read", "keys:write"], True),
        (["operator"], False), (["admin", "operator"], False),
    ],
)
def test_scopes_are_given_by_who_holds_them_all(scopes: list[str], gives: bool) -> None:
    """Bundles count as what they stand for."""
    assert blamed(PLAIN, Grant(scopes=tuple(scopes))) == ([] if gives else ["scopes"])


def test_a_key_with_a_single_scope_gives_that_alone() -> None:
    """keys:write makes no key that reads or writes anything else."""
    maker = replace(PLAIN, scopes=expand(["keys:write"]))
    assert blamed(maker, Grant(scopes=("keys:write",))) == []
    assert blamed(maker, Grant(scopes=("keys:write", "users:read"))) == ["scopes"]


@pytest.mark.parametrize(("given", "gives"), [((1,), True), ((1, 2), True), ((1, 3), False), (None, False)])
def test_accounts_to_debit_are_some_of_the_givers_own(given: tuple[int, ...] | None, gives: bool) -> None:
    """None stands for all accounts, which a restricted key cannot give."""
    giver = replace(PLAIN, debit_accounts=frozenset({1, 2}))
    assert blamed(giver, Grant(scopes=("write",), debit_accounts=given)) == ([] if gives else ["debit_accounts"])


@pytest.mark.parametrize(
    ("given", "gives"),
    [(END, True), (END - timedelta(days=1), True), (END + timedelta(microseconds=1), False), (None, False)],
)
def test_no_key_outlives_the_one_that_made_it(given: datetime | None, gives: bool) -> None:
    """Else a key that ends could make itself endless."""
    giver = replace(PLAIN, expires_at=END)
    assert blamed(giver, Grant(scopes=("read",), expires_at=given)) == ([] if gives else ["expires_at"])


@pytest.mark.parametrize(
    ("own", "server", "given", "gives"),
    [
        (10, None, 10, True), (10, None, 11, False), (10, None, None, False), (10, 5, None, True), (None, 5, None, True),
        (None, 5, 5, True), (None, 5, 6, False), (None, None, 1_000_000, True), (None, None, None, True),
    ],
)
def test_a_rate_is_at_most_the_givers(own: int | None, server: int | None, given: int | None, gives: bool) -> None:
    """A key without a rate of its own has the server's."""
    for name in ("rate_per_s", "burst"):
        giver, defaults = replace(PLAIN, **{name: own}), Defaults(**{name: server})
        assert blamed(giver, Grant(scopes=("read",), **{name: given}), defaults) == ([] if gives else [name])


def test_an_operator_gives_anything() -> None:
    """To any ledger: that is what it is for."""
    operator = replace(PLAIN, scopes=expand(["operator"]), expires_at=END, debit_accounts=frozenset({1}), rate_per_s=1)
    assert blamed(operator, Grant(scopes=("admin", "operator"))) == []


def test_everything_that_goes_too_far_is_named_at_once() -> None:
    """One answer, not one after the other."""
    giver = replace(PLAIN, expires_at=END, debit_accounts=frozenset({1}), rate_per_s=1, burst=1)
    grant = Grant(scopes=("operator",), debit_accounts=(2,), rate_per_s=2, burst=2)
    assert blamed(giver, grant) == ["scopes", "debit_accounts", "expires_at", "rate_per_s", "burst"]
