"""Tokens are checked: kept while that is safe, refused all in the same way, looked up once for all who wait."""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from service.concurrency.context import Context, background, with_cancel
from service.errors import ClientClosedRequest, LedgerdError, Unauthenticated, Unavailable
from service.ledger import authenticator
from service.ledger.authenticator import Authenticator, Credential
from service.ledger.kept import FRESH_S
from service.ledger.principal import Principal
from service.ledger.scopes import expand
from tests.serving import wait_until
from tests.unit.credentials import Clock, Credentials


def key_id(token: str) -> str:
    """The id in a token."""
    return token.split("_")[1]


def test_a_token_tells_who_holds_it() -> None:
    """With all that the key is given, its scopes expanded."""
    table = Credentials()
    token = table.add(scopes=["write"], debit_accounts=[4, 5], rate_per_s=9, burst=3)
    found = Authenticator(table).authenticate(background(), token)
    assert found == Principal(7, key_id(token), expand(["write"]), frozenset({4, 5}), None, 9, 3)
    assert found.may_debit(4)
    assert not found.may_debit(6)


def test_without_proof_a_key_is_looked_up_again_within_a_second() -> None:
    """And a revoked one is refused then."""
    table, clock = Credentials(), Clock()
    keys = Authenticator(table, clock=clock)
    token = table.add()
    for _ in range(5):
        keys.authenticate(background(), token)
    assert table.asked == 1
    table.rows[key_id(token)] = replace(table.rows[key_id(token)], revoked=True)
    clock.now = FRESH_S - 0.01
    keys.authenticate(background(), token)
    clock.now = FRESH_S
    assert FRESH_S < 1
    with pytest.raises(Unauthenticated):
        keys.authenticate(background(), token)


def test_while_changes_are_proved_to_be_told_a_key_is_kept() -> None:
    """Until it is told of, or until the proof ends."""
    table, clock = Credentials(), Clock()
    proved = [True]
    keys = Authenticator(table, proved_within=lambda _: proved[0], clock=clock)
    token = table.add()
    keys.authenticate(background(), token)
    clock.now = 3600
    keys.authenticate(background(), token)
    assert table.asked == 1
    keys.drop(key_id(token))
    keys.authenticate(background(), token)
    assert table.asked == 2
    clock.now = 7200
    proved[0] = False
    keys.authenticate(background(), token)
    assert table.asked == 3


def test_when_something_may_have_been_missed_nothing_is_kept() -> None:
    """Of any key."""
    table = Credentials()
    keys = Authenticator(table, proved_within=lambda _: True)
    tokens = [table.add() for _ in range(3)]
    for _ in range(2):
        for token in tokens:
            keys.authenticate(background(), token)
    assert table.asked == 3
    keys.drop_all()
    for token in tokens:
        keys.authenticate(background(), token)
    assert table.asked == 6


def test_a_kept_key_ends_on_time_without_a_word() -> None:
    """By the seconds that the database said are left, whatever the clock of this host shows."""
    table, clock = Credentials(), Clock()
    clock.now = 1000
    keys = Authenticator(table, proved_within=lambda _: True, clock=clock)
    token = table.add(expires_in_s=60.0)
    clock.now = 1059.9
    keys.authenticate(background(), token)
    assert table.asked == 1
    clock.now = 1059.9 + 60
    table.rows[key_id(token)] = replace(table.rows[key_id(token)], expires_in_s=0.0)
    with pytest.raises(Unauthenticated):
        keys.authenticate(background(), token)
    assert table.asked == 2


def refusals(table: Credentials) -> dict[str, str]:
    """A token of each kind that is refused, of a table in which one is good."""
    good = table.add()
    last = "0" if good[-1] != "0" else "1"
    return {
        "malformed": "no key at all", "empty": "", "truncated": good[:-1], "too long": good + "0", "upper case": good.upper(),
        "forged": "ldg_" + "0" * 11 + "1_" + "a" * 64, "wrong secret": good[:-1] + last,
        "expired": table.add(expires_in_s=-1.0), "revoked": table.add(revoked=True), "not ASCII": good[:-1] + "é",
    }


def test_all_refusals_are_one_in_words_and_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same message, one lookup and one comparison, also where the true key was accepted just now."""
    table = Credentials()
    keys = Authenticator(table, proved_within=lambda _: True)
    tokens = refusals(table)
    keys.authenticate(background(), tokens["truncated"] + _last_of(keys, table, tokens["truncated"]))
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    seen = {}
    for kind, token in tokens.items():
        asked, made = table.asked, len(compared)
        with pytest.raises(Unauthenticated) as caught:
            keys.authenticate(background(), token)
        seen[kind] = (caught.value.message, caught.value.fields, table.asked - asked, len(compared) - made)
        assert [len(side) for side in compared[-1]] == [32, 32]
    assert len(set(seen.values())) == 1, seen
    assert seen["revoked"][2:] == (1, 1)


def _last_of(keys: Authenticator, table: Credentials, stem: str) -> str:
    """The last letter of the token that begins with `stem`."""
    for letter in "0123456789abcdef":
        try:
            keys.authenticate(background(), stem + letter)
        except Unauthenticated:
            continue
        table.asked = 0
        return letter
    raise AssertionError(stem)


def test_each_token_is_told_as_a_hit_or_a_miss() -> None:
    """For whoever counts."""
    table, told = Credentials(), []
    keys = Authenticator(table, proved_within=lambda _: True, on_lookup=told.append)
    token = table.add()
    for text in (token, token, "wrong"):
        try:
            keys.authenticate(background(), text)
        except Unauthenticated:
            assert text == "wrong"
    assert told == [False, True, False]


class Slow(Credentials):
    """A lookup waits until it is let go, or until its caller's time is up; it fails if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way, self.go, self.error = threading.Event(), threading.Event(), None

    def find_credentials(self, ctx: Context, key_id: str) -> Sequence[Credential]:
        found = super().find_credentials(ctx, key_id)
        self.under_way.set()
        wait_until(lambda: self.go.is_set() or ctx.error() is not None, 10, every_s=0.005)
        ctx.check()
        if self.error is not None:
            raise self.error
        return found


def waiting(keys: Authenticator) -> int:
    """How many wait for the lookup that is under way."""
    return sum(len(lookup.ended._callbacks or ()) for lookup in list(keys._lookups._under_way.values()))


def ask_at_once(table: Slow, *, first_leaves: bool = False) -> list[object]:
    """What 8 callers get who want the same key while it is looked up for the first of them."""
    first = with_cancel(background())
    keys = Authenticator(table, clock=lambda: 0.0)
    token = table.add()
    answers: list[object] = []

    def ask(ctx: Context) -> None:
        try:
            answers.append(keys.authenticate(ctx, token).ledger_id)
        except LedgerdError as error:
            answers.append(type(error))

    threads = [threading.Thread(target=ask, args=(ctx,), daemon=True) for ctx in (first, *[background()] * 7)]
    threads[0].start()
    assert table.under_way.wait(10)
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: waiting(keys) == 7, 10)
    if first_leaves:
        first.cancel(ClientClosedRequest("gone"))
        threads[0].join(10)
        wait_until(lambda: waiting(keys) == 6, 10)  # for the one of them who looks now
    table.go.set()
    for thread in threads:
        thread.join(10)
    assert keys._lookups._under_way == {}
    return answers


def test_one_lookup_serves_all_who_wait_for_it() -> None:
    """Where the database is slow, a lookup for each request would take every connection."""
    table = Slow()
    assert ask_at_once(table) == [7] * 8
    assert table.asked == 1


def test_a_lookup_that_fails_fails_for_all_who_wait_for_it() -> None:
    """They do not queue up to find out one after the other that the database is away."""
    table = Slow()
    table.error = Unavailable("down")
    assert ask_at_once(table) == [Unavailable] * 8
    assert table.asked == 1


def test_a_lookup_that_is_given_up_is_made_by_the_next() -> None:
    """That one caller has left is nobody else's concern."""
    table = Slow()
    answers = ask_at_once(table, first_leaves=True)
    assert sorted(answers, key=str) == [7] * 7 + [ClientClosedRequest]
    assert table.asked == 2


@pytest.mark.parametrize("change", ["drop", "drop_all"])
def test_what_was_looked_up_before_a_change_is_not_kept(change: str) -> None:
    """A notification may come while the lookup of before is on its way."""
    table = Credentials()
    token = table.add()
    find, changes = table.find_credentials, [change]

    def find_then_change(ctx: Context, wanted: str) -> Sequence[Credential]:
        found = find(ctx, wanted)
        for kind in changes:
            (keys.drop(wanted) if kind == "drop" else keys.drop_all())
        return found

    table.find_credentials = find_then_change  # type: ignore[method-assign]
    keys = Authenticator(table, proved_within=lambda _: True)
    keys.authenticate(background(), token)
    changes.clear()
    keys.authenticate(background(), token)
    keys.authenticate(background(), token)
    assert table.asked == 2


def test_nobody_joins_a_lookup_that_began_a_second_ago() -> None:
    """Its answer may be of before a revocation that is a second old by now."""
    table, clock = Slow(), Clock()
    keys = Authenticator(table, clock=clock)
    token = table.add()
    held = threading.Thread(target=keys.authenticate, args=(background(), token), daemon=True)
    held.start()
    assert table.under_way.wait(10)
    table.rows[key_id(token)] = replace(table.rows[key_id(token)], revoked=True)
    clock.now = FRESH_S
    refused: list[type] = []
    later = threading.Thread(target=lambda: refused.append(refusal_of(keys, token)), daemon=True)
    later.start()
    wait_until(lambda: table.asked == 2, 10)
    table.go.set()
    for thread in (held, later):
        thread.join(10)
    assert refused == [Unauthenticated]
    assert keys._lookups._under_way == {}


def refusal_of(keys: Authenticator, token: str) -> type:
    """How `token` is refused."""
    try:
        keys.authenticate(background(), token)
    except LedgerdError as error:
        return type(error)
    return type(None)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses push out nothing; the oldest goes that was not used since it came or was spared."""
    monkeypatch.setattr(authenticator, "MOST_KEPT", 3)
    table = Credentials()
    keys = Authenticator(table, proved_within=lambda _: True)

    def is_kept(token: str) -> bool:
        asked = table.asked
        keys.authenticate(background(), token)
        return table.asked == asked

    tokens = [table.add() for _ in range(4)]
    assert [is_kept(token) for token in tokens[:3]] == [False] * 3
    assert is_kept(tokens[0])
    for _ in range(10):
        assert refusal_of(keys, "ldg_" + "0" * 12 + "_" + "0" * 64) is Unauthenticated
    assert not is_kept(tokens[3])
    assert len(keys._kept) == 3
    assert [is_kept(tokens[n]) for n in (0, 2, 3)] == [True] * 3
    assert not is_kept(tokens[1])


def test_readers_and_changes_at_once_leave_the_cache_whole() -> None:
    """Eight threads authenticate while keys are dropped one by one and all together."""
    table = Credentials()
    keys = Authenticator(table, proved_within=lambda _: True)
    tokens = [table.add() for _ in range(8)]
    failures: list[BaseException] = []

    def repeat(action: Callable[[int], object]) -> None:
        try:
            for turn in range(400):
                action(turn)
        except BaseException as error:  # noqa: BLE001  # told by the test
            failures.append(error)

    actions: list[Callable[[int], object]] = [lambda turn: keys.authenticate(background(), tokens[turn % 8])] * 6
    actions += [lambda turn: keys.drop(key_id(tokens[turn % 8])), lambda turn: turn % 50 or keys.drop_all()]
    threads = [threading.Thread(target=repeat, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert all(keys.authenticate(background(), token).key_id == key_id(token) for token in tokens)
