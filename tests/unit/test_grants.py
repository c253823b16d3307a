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
    ("own", "server", "given", "refused"),
    [
        ((10, 20), (None, None), (10, 20), []),
        ((10, 20), (None, None), (11, 20), ["rate_per_s"]),
        ((10, 20), (None, None), (10, 21), ["burst"]),
        ((10, 20), (None, None), (None, None), ["rate_per_s", "burst"]),
        ((10, 20), (5, 20), (None, None), []),
        ((10, 20), (11, 20), (None, None), ["rate_per_s"]),
        ((None, None), (5, 9), (5, 9), []),
        ((None, None), (5, 9), (6, 10), ["rate_per_s", "burst"]),
        ((None, None), (5, 9), (None, None), []),
        ((None, None), (None, None), (1_000_000, 1_000_000), []),
        ((10, None), (100, 100), (10, 11), ["burst"]),
        ((10, None), (100, 100), (None, None), ["rate_per_s", "burst"]),
        ((10, 20), (100, 100), (9, None), []),
        ((10, 5), (100, 100), (9, None), ["burst"]),
        ((None, 5), (100, 100), (None, 5), []),
    ],
)
def test_a_rate_is_at_most_the_givers(
    own: tuple[int | None, int | None], server: tuple[int | None, int | None], given: tuple[int | None, int | None],
    refused: list[str],
) -> None:
    """A key without a rate of its own has the server's; a burst that is missing beside a rate is that of a second."""
    giver = replace(PLAIN, rate_per_s=own[0], burst=own[1])
    grant = Grant(scopes=("read",), rate_per_s=given[0], burst=given[1])
    assert blamed(giver, grant, Defaults(*server)) == refused


def test_an_operator_gives_anything() -> None:
    """To any ledger: that is what it is for."""
    operator = replace(PLAIN, scopes=expand(["operator"]), expires_at=END, debit_accounts=frozenset({1}), rate_per_s=1)
    assert blamed(operator, Grant(scopes=("admin", "operator"))) == []


def test_everything_that_goes_too_far_is_named_at_once() -> None:
    """One answer, not one after the other."""
    giver = replace(PLAIN, expires_at=END, debit_accounts=frozenset({1}), rate_per_s=1, burst=1)
    grant = Grant(scopes=("operator",), debit_accounts=(2,), rate_per_s=2, burst=2)
    assert blamed(giver, grant) == ["scopes", "debit_accounts", "expires_at", "rate_per_s", "burst"]
