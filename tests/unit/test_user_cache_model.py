"""The cache of users held against the history of a database, in any order of reads, changes, notifications and losses.

Each call is a greenlet that stops wherever it would wait: before and after its statement commits, and for another's lookup.
Hypothesis chooses who goes on, when time passes, when a notification arrives, and when none does any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from math import inf
from typing import Any

import pytest
from greenlet import getcurrent, greenlet
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from service.concurrency.context import Context, background, with_value
from service.concurrency.primitives import Parking
from service.errors import NotFound
from service.ledger import lookups
from service.ledger.kept import FRESH_S
from service.ledger.position import POSITIONS, Written
from service.ledger.user import User
from service.ledger.user_cache import UserCache
from service.ledger.users import Users

USERS = (1, 2)
RARELY = st.sampled_from([False] * 7 + [True])
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_main = getcurrent()


def pause() -> None:
    """Let others go on."""
    _main.switch()


class StoppedParking(Parking):
    """A wait that the machine can look past."""

    woken = False

    def wait(self, timeout_s: float | None = None) -> bool:
        while not self.woken:
            pause()
        return True

    def wake(self) -> None:
        self.woken = True


class Database:
    """Each user's states, with the time from which on each was true; what is committed is told to whoever listens."""

    def __init__(self) -> None:
        self.now = 0.0
        self.states: dict[int, list[tuple[float, User | None]]] = {
            n: [(-inf, User(n, "Ada", "ada@example.com", {}, 1, EPOCH, EPOCH))] for n in USERS
        }
        self.told: deque[tuple[int, int, str] | float] = deque()  # user, number of the state, payload; or when a beat was sent
        self.deaf = False
        self._transactions = count(1)

    def latest(self, user_id: int) -> int:
        """The number of the state that is true now."""
        return len(self.states[user_id]) - 1

    def commit(self, user_id: int, user: User | None) -> int:
        """A new state; the transaction."""
        self.states[user_id].append((self.now, user))
        transaction = next(self._transactions)
        if not self.deaf:
            self.told.append((user_id, self.latest(user_id), f"7:{user_id}:{transaction}"))
        return transaction

    def change(self, user_id: int) -> Written[User] | None:
        """One more version, if there still is a user."""
        user = self.states[user_id][-1][1]
        if user is None:
            return None
        user = replace(user, version=user.version + 1)
        return Written(user, self.commit(user_id, user))

    def remove(self, user_id: int) -> int | None:
        """The user's end, if it is not there yet."""
        return None if self.states[user_id][-1][1] is None else self.commit(user_id, None)

    def find_user(self, ctx: Context, ledger_id: int, user_id: int) -> User | None:
        """As the repository."""
        pause()
        found = self.states[user_id][-1][1]
        pause()
        return found

    def find_users(self, ctx: Context, keys: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], User]:
        """As the repository: all as of one moment."""
        pause()
        found = {key: user for key in keys if (user := self.states[key[1]][-1][1] if key[1] in self.states else None)}
        pause()
        return found

    def update_user(self, ctx: Context, ledger_id: int, user_id: int, **_: object) -> Written[User] | None:
        """As the repository."""
        pause()
        written = self.change(user_id)
        pause()
        return written

    def delete_user(self, ctx: Context, ledger_id: int, user_id: int, *, if_version: int | None) -> int | None:
        """As the repository."""
        pause()
        position = self.remove(user_id)
        pause()
        return position

    def list_users(self, *_: Any, **__: Any) -> Sequence[User]:
        raise NotImplementedError

    def create_user(self, *_: Any, **__: Mapping[str, Any]) -> Written[User]:
        raise NotImplementedError


@dataclass
class Call:
    """One that may have stopped on its way."""

    greenlet: greenlet
    error: BaseException | None = None


class CacheMachine(RuleBasedStateMachine):
    """Reads and changes in this worker, changes elsewhere, notifications, and their loss."""

    most = 3  # users that are kept: there is room for the other one, so each lookup brings it along

    def __init__(self) -> None:
        super().__init__()
        self.database = Database()
        self.proved_at = -inf
        cache = UserCache(
            self.database, most=self.most, lifetime_s=5.0, clock=lambda: self.database.now,
            look_up=lambda ctx, key: cache.find_many(ctx, [key]).get(key),
            proved_within=lambda seconds: self.database.now - self.proved_at < seconds,
        )
        self.cache, self.users = cache, Users(self.database, cache)
        self.known = dict.fromkeys(USERS, 0)  # the number of the state that this worker has written or heard of
        self.calls: list[Call] = []

    @rule(user_id=st.sampled_from(USERS), how=st.sampled_from(["", "", "", "", "anew", "position"]))
    def read(self, user_id: int, how: str) -> None:
        """What is found was true at most FRESH_S before, is no older than what this worker knows, and the latest if asked."""
        began, known, latest = self.database.now, self.known[user_id], self.database.latest(user_id)
        ctx = background() if how != "position" else with_value(background(), POSITIONS, (1,))

        def call() -> None:
            try:
                found = self.users.find(ctx, 7, user_id, anew=how == "anew").user
            except NotFound:
                found = None
            states = self.database.states[user_id]
            number = next(n for n, (_, user) in enumerate(states) if user == found)
            until = states[number + 1][0] if number + 1 < len(states) else inf
            assert until >= began - FRESH_S, "it was too old"
            assert number >= known, "this worker knew better"
            assert number >= latest or not how, "the latest was asked for"

        self._start(call)

    @rule(user_id=st.sampled_from(USERS))
    def update(self, user_id: int) -> None:
        """By this worker."""
        def call() -> None:
            try:
                written = self.users.update(background(), 7, user_id, name="", email="", metadata={})
            except NotFound:
                return
            self._know(user_id, written.thing)

        self._start(call)

    @precondition(lambda self: len(self.calls) < 2)
    @rule(user_id=st.sampled_from(USERS))
    def delete(self, user_id: int) -> None:
        """By this worker."""
        def call() -> None:
            try:
                self.users.delete(background(), 7, user_id)
            except NotFound:
                return
            self._know(user_id, None)

        self._start(call)

    @rule(user_id=st.sampled_from(USERS), removed=RARELY)
    def change_elsewhere(self, user_id: int, removed: bool) -> None:
        """By another worker."""
        self.database.remove(user_id) if removed else self.database.change(user_id)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """With one call, a step."""
        self._step(data.draw(st.sampled_from(self.calls)))

    @rule()
    def finish(self) -> None:
        """All calls, in the order of their beginning."""
        while self.calls:
            self._step(self.calls[0])

    @rule(seconds=st.sampled_from([0.05, 0.6, 1.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.database.now += seconds

    @rule()
    def beat(self) -> None:
        """The listener sends one."""
        if not self.database.deaf:
            self.database.told.append(self.database.now)

    @precondition(lambda self: self.database.told)
    @rule()
    def hear(self) -> None:
        """The next notification or beat arrives."""
        told = self.database.told.popleft()
        if isinstance(told, float):
            self.proved_at = told
            return
        user_id, number, payload = told
        self.cache.hear(payload)
        self.known[user_id] = max(self.known[user_id], number)

    @rule(deaf=RARELY)
    def swallow(self, deaf: bool) -> None:
        """Nothing arrives any more, or what is sent from now on: on another connection, since this one missed something."""
        if self.database.deaf and not deaf:
            self.lose()
        self.database.deaf = deaf

    @rule(sure=RARELY)
    def lose_now_and_then(self, sure: bool) -> None:
        """The connection breaks."""
        if sure:
            self.lose()

    def lose(self) -> None:
        """The listener's connection; another begins to listen at once."""
        self.database.told.clear()
        self.proved_at = -inf
        self.cache.drop_all()

    def teardown(self) -> None:
        """All calls come to their end."""
        self.finish()

    def _know(self, user_id: int, user: User | None) -> None:
        numbers = [n for n, (_, state) in enumerate(self.database.states[user_id]) if state == user]
        self.known[user_id] = max(self.known[user_id], numbers[0])

    def _start(self, run: Callable[[], None]) -> None:
        def body() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001  # raised by _step
                call.error = error

        call = Call(greenlet(body))
        self.calls.append(call)
        self._step(call)

    def _step(self, call: Call) -> None:
        call.greenlet.switch()
        if call.greenlet.dead:
            self.calls.remove(call)
        elif len(self.calls) > 4:
            self._step(self.calls[0])
        if call.error is not None:
            raise call.error


def test_no_order_of_events_shows_what_is_too_old_or_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """See the machine's rules."""
    monkeypatch.setattr(lookups, "Parking", StoppedParking)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        CacheMachine, settings=settings(max_examples=400, stateful_step_count=80, deadline=None)
    )
