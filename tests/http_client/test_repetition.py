"""What is sent again, when, where to, and what the caller is told in the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.api.problem import STATUS
from service.client import Client, Reply
from service.client.exchange import Broken
from service.client.instances import FAILURES, OPEN_S
from service.client.repetition import FIRST_BOUND_S, LONGEST_BOUND_S, NOTHING_DONE, Repetition
from service.client.request import Request, make_request
from service.concurrency.context import background, with_timeout
from service.errors import (
    DeadlineExceeded,
    InsufficientFunds,
    Internal,
    LedgerdError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    Unauthenticated,
    Unavailable,
    taxonomy,
)
from tests.core.clock import ManualClock
from tests.http_client.scripted import answer, hang, lose, problem, scripted, tear
from tests.serving import free_port

USER = {"name": "Ada", "email": "ada@example.com"}
TRANSFER = {"from_account_id": 1, "to_account_id": 2, "amount": 5}
CODES = sorted(set(STATUS) - {"client_closed_request"})
RETRYABLE = {code for code, kind in taxonomy().items() if kind.retryable}


def send(client: Client, kind: str) -> Any:
    """One of the kinds of requests that differ in whether they may be sent again."""
    ctx = background()
    calls: dict[str, Callable[[], Any]] = {
        "read": lambda: client.get(ctx, "/api/users/1"),
        "transfer": lambda: client.transfer(ctx, **TRANSFER),
        "capture": lambda: client.post(ctx, "/api/transfers/7/capture", {}),
        "create": lambda: client.post(ctx, "/api/users", USER),
        "replace": lambda: client.call(ctx, "PUT", "/api/users/1", USER),
        "replace if": lambda: client.call(ctx, "PUT", "/api/users/1", USER, headers={"If-Match": '"1"'}),
        "change": lambda: client.call(ctx, "PATCH", "/api/accounts/1", {"status": "frozen"}),
        "delete": lambda: client.call(ctx, "DELETE", "/api/users/1"),
        "heartbeat": lambda: client.call(ctx, "POST", "/api/services/a/instances/b/heartbeat", repeatable=True),
    }
    return calls[kind]()


ONCE = ("create", "replace if", "change")  # where to be done twice is not as good as once
AGAIN = ("read", "transfer", "capture", "replace", "delete", "heartbeat")


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("kind", [*ONCE, *AGAIN])
def test_what_is_sent_again_by_its_code(kind: str, code: str) -> None:
    """What says that nothing was done, for every request; what leaves it open, for those that may take effect twice."""
    again = code in RETRYABLE and (code != "outcome_unknown" or kind in AGAIN)
    again |= code == "internal" and kind in ("transfer", "capture")
    with scripted(problem(STATUS[code], code), answer(200, {"done": True})) as server, Client(server.url, None) as client:
        if again:
            send(client, kind)
        else:
            with pytest.raises(taxonomy()[code]):
                send(client, kind)
        assert len(server.asked) == 1 + again
        assert len({(a.line, a.body, a.headers.get("idempotency-key")) for a in server.asked}) == 1
        assert len({a.headers["x-request-id"] for a in server.asked}) == 1


@pytest.mark.parametrize("fault", [lose, tear, answer(502, "bad gateway", kind="text/html"), answer(504, kind="text/html")])
@pytest.mark.parametrize("kind", [*ONCE, *AGAIN])
def test_what_is_sent_again_when_an_answer_is_lost(kind: str, fault: Any) -> None:
    """What may take effect twice; of the others nobody knows, and they are told so."""
    with scripted(fault, answer(200, {"done": True})) as server, Client(server.url, None) as client:
        if kind in AGAIN:
            send(client, kind)
        else:
            with pytest.raises(OutcomeUnknown, match="read it back"):
                send(client, kind)
        assert len(server.asked) == (2 if kind in AGAIN else 1)
        assert len({a.headers.get("idempotency-key") for a in server.asked}) == 1


def test_a_transfer_always_has_a_key() -> None:
    """One of its own where none is given, in quotes, another one each time; other requests have none."""
    with scripted(answer(201, {"id": 1})) as server, Client(server.url, None) as client:
        client.transfer(background(), **TRANSFER)
        client.transfer(background(), **TRANSFER)
        client.transfer(background(), **TRANSFER, idempotency_key="order 7")
        client.post(background(), "/api/transfers/bulk", {"transfers": [TRANSFER]})
        client.post(background(), "/api/users", USER)
        keys = [asked.headers.get("idempotency-key") for asked in server.asked]
    assert keys[2] == '"order 7"'
    assert keys[4] is None
    made = [key for number, key in enumerate(keys) if number in (0, 1, 3)]
    assert len(set(made)) == 3
    assert all(key is not None and len(key) > 20 and key[0] == key[-1] == '"' for key in made)


@pytest.mark.parametrize(("path", "key"), [("/api/transfers", 'a"b'), ("/api/transfers", "ä"), ("/api/users", "k")])
def test_a_key_that_cannot_be_sent_is_the_callers_mistake(path: str, key: str) -> None:
    """Nothing goes out."""
    with Client("http://127.0.0.1:9", None) as client, pytest.raises(ValueError, match="idempotency key"):
        client.post(background(), path, {}, idempotency_key=key)


def test_retry_after_is_waited_for() -> None:
    """Not a moment less; the time is that of the context's clock."""
    clock, at_pause, found = ManualClock(), threading.Event(), list[Any]()
    script = problem(429, "rate_limited", Retry_After="7"), answer(200, {"id": 1})
    with scripted(*script) as server, Client(server.url, None) as client:
        client._repetition._uniform = lambda _low, _high: float(at_pause.set() or 0)
        caller = threading.Thread(target=lambda: found.append(client.get(background(clock), "/a")))
        caller.start()
        assert at_pause.wait(10)
        clock.wait_for_pending(1)  # the pause
        clock.advance(6.9)
        assert clock.pending() == 1
        assert len(server.asked) == 1
        clock.advance(0.2)
        caller.join(10)
        assert found == [{"id": 1}]


def test_a_pause_that_the_deadline_does_not_allow_is_not_begun() -> None:
    """The caller is told at once, and for how long."""
    with scripted(problem(503, "overloaded", Retry_After="60")) as server, Client(server.url, None) as client:
        with pytest.raises(LedgerdError) as caught:
            client.transfer(background(), **TRANSFER)
        assert (caught.value.code, caught.value.retry_after_s) == ("overloaded", 60)
        assert len(server.asked) == 1


def test_the_attempts_of_a_call_are_bounded() -> None:
    """Then it is the last error."""
    with scripted(problem(503, "unavailable")) as server, Client(server.url, None, attempts=3) as client:
        with pytest.raises(Unavailable, match=r"It is unavailable\."):
            client.get(background(), "/a")
        assert len(server.asked) == 3


def test_a_server_that_does_not_answer_leaves_time_for_another() -> None:
    """An attempt that may be repeated has not all of the call's time; and the other server gets the same key."""
    with scripted(hang) as hung, scripted(answer(201, {"id": 1})) as good:
        with Client([hung.url, good.url], None, attempt_timeout_s=0.3) as client:
            for _ in range(4):
                client.transfer(background(), **TRANSFER)
        keys = [asked.headers["idempotency-key"] for asked in good.asked]
        assert len(good.asked) == 4
        assert hung.asked
        assert {asked.headers["idempotency-key"] for asked in hung.asked} <= set(keys)


def test_a_server_that_keeps_failing_is_left_alone() -> None:
    """Its breaker opens: calls go to the other at once."""
    with scripted(lose) as bad, scripted(answer(200, {})) as good, Client([bad.url, good.url], None) as client:
        for _ in range(40):
            client.get(background(), "/a")
        assert len(bad.asked) == FAILURES
        assert len(good.asked) == 40


def test_an_answer_is_no_failure_of_a_server() -> None:
    """Whatever it says: an error that it tells is told to the caller, again and again."""
    with scripted(problem(500, "internal")) as server, Client(server.url, None) as client:
        for _ in range(3 * FAILURES):
            with pytest.raises(Internal):
                client.get(background(), "/a")
        assert len(server.asked) == 3 * FAILURES


def test_a_caller_without_patience_blames_no_server() -> None:
    """Calls that were given too little time open no breaker for the others."""
    with scripted(*[hang] * 3 * FAILURES, answer(200, {})) as server, Client(server.url, None) as client:
        for _ in range(3 * FAILURES):
            with with_timeout(background(), 0.03) as ctx, pytest.raises(DeadlineExceeded):
                client.get(ctx, "/a")
        client.get(background(), "/a")


def test_when_all_are_left_alone_a_call_waits_for_the_first_to_work_again() -> None:
    """The breaker lets a call pass after its time, and closes."""
    script = [lose] * FAILURES + [answer(200, {"id": 1})]
    with scripted(*script) as server, Client(server.url, None, timeout_s=15 * OPEN_S, attempts=FAILURES + 3) as client:
        assert client.get(background(), "/a") == {"id": 1}
        assert len(server.asked) == FAILURES + 1


def test_a_removal_that_was_done_by_a_lost_attempt_is_a_success() -> None:
    """The second attempt finds nothing any more; without a lost one that is an error."""
    with scripted(lose, problem(404, "not_found")) as server, Client(server.url, None) as client:
        assert client.call(background(), "DELETE", "/api/users/1") == Reply(204, {}, b"")
        with pytest.raises(NotFound):
            client.call(background(), "DELETE", "/api/users/1")


def test_once_in_doubt_an_attempt_that_did_nothing_proves_nothing() -> None:
    """The first may have posted it; a refusal by the rules does prove that it has not."""
    late = problem(503, "unavailable", Retry_After="99")
    cases: list[tuple[list[Any], type[LedgerdError]]] = [
        ([lose, late], OutcomeUnknown),
        ([lose, problem(401, "unauthenticated")], OutcomeUnknown),
        ([lose, problem(403, "forbidden")], OutcomeUnknown),
        ([lose, problem(422, "insufficient_funds")], InsufficientFunds),
        ([problem(401, "unauthenticated")], Unauthenticated),
        ([late], Unavailable),
    ]
    for script, told in cases:
        with scripted(*script) as server, Client(server.url, None) as client, pytest.raises(told) as caught:
            client.transfer(background(), **TRANSFER)
        assert type(caught.value) is told
        assert len(server.asked) == len(script)


def test_nothing_is_sent_when_the_time_is_up_before() -> None:
    """And that is told as it is, also of a transfer."""
    with scripted(answer(200, {})) as server, Client(server.url, None) as client, with_timeout(background(), 0) as ctx:
        for call in (lambda: client.get(ctx, "/a"), lambda: client.transfer(ctx, **TRANSFER)):
            with pytest.raises(DeadlineExceeded):
                call()
        assert server.asked == []


def test_the_next_server_is_asked_without_a_pause_where_one_fails() -> None:
    """A pause is for a server that may be better soon, not for one that was not asked yet."""
    bases = [f"http://127.0.0.1:{free_port()}" for _ in range(3)]
    with scripted(answer(200, {})) as good, Client([*bases, good.url], None) as client:
        client._repetition._uniform = lambda _low, _high: pytest.fail("a pause")
        client.get(background(), "/a")
        assert len(good.asked) == 1


class World:
    """A `Repetition` on one instance whose exchanges end as `outcomes` say; `pauses` has the bounds that were drawn from."""

    def __init__(self, outcomes: list[Any], *, attempts: int) -> None:
        self.outcomes = list(outcomes)
        self.sent: list[str] = []
        self.pauses: list[float] = []
        self.clock = ManualClock()
        self.connections = self
        self.base = "http://h"
        self.repetition = Repetition(self, attempts=attempts, attempt_timeout_s=10, uniform=self._draw)  # type: ignore[arg-type]

    def choose(self, *_: Any, **__: Any) -> World:
        return self

    def has_other(self, *_: Any) -> bool:
        return False

    def exchange(self, _ctx: Any, request: Request, timeout: str) -> Reply:
        self.sent.append(timeout)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _draw(self, low: float, high: float) -> float:
        assert low == 0
        self.pauses.append(high)
        return 0.0

    def send(self, request: Request) -> Reply:
        with with_timeout(background(), 30) as ctx:
            return self.repetition.send(ctx, request)


GOOD = Reply(200, {}, b"{}")


def refusal(code: str) -> Reply:
    """As ledgerd answers it."""
    body = f'{{"code": "{code}", "detail": "It is {code}."}}'.encode()
    return Reply(STATUS[code], {"content-type": "application/problem+json"}, body)


OUTCOMES = st.one_of(
    st.just(GOOD),
    st.sampled_from(CODES).map(refusal),
    st.builds(Broken, st.just("broken"), sent=st.booleans(), to_blame=st.booleans()),
)
METHODS = st.sampled_from([
    ("GET", "/a", {}), ("POST", "/api/transfers", {}), ("POST", "/api/users", {}), ("PUT", "/a", {}),
    ("PUT", "/a", {"If-Match": '"1"'}), ("PATCH", "/a", {}),
])


@example(  # a read is in no doubt, whatever an answer to it says
    outcomes=[refusal("outcome_unknown"), Broken("broken", sent=True, to_blame=True), *[GOOD] * 4], attempts=2,
    asked=("GET", "/a", {}),
)
@given(outcomes=st.lists(OUTCOMES, min_size=6, max_size=6), attempts=st.integers(1, 6), asked=METHODS)
def test_it_repeats_what_may_be_repeated_and_tells_the_truth(
    outcomes: list[Any], attempts: int, asked: tuple[str, str, dict[str, str]]
) -> None:
    """Held against the rules in plain words, for any sequence of what can happen."""
    method, path, headers = asked
    world = World(outcomes, attempts=attempts)
    request = make_request(method, path, None, headers, api_key=None, key=None, repeatable=None)
    raised: LedgerdError | None = None
    try:
        assert world.send(request) == GOOD
    except LedgerdError as error:
        raised = error
    seen = outcomes[: len(world.sent)]
    assert 1 <= len(seen) <= attempts

    def did_nothing(outcome: Any) -> bool:
        if isinstance(outcome, Broken):
            return not outcome.sent
        return outcome is not GOOD and outcome.json["code"] in {kind.code for kind in NOTHING_DONE}

    def leaves_open(outcome: Any) -> bool:
        if isinstance(outcome, Broken):
            return outcome.sent
        return outcome is not GOOD and (
            outcome.json["code"] == "outcome_unknown" or (outcome.json["code"] == "internal" and request.key is not None)
        )

    for outcome in seen[:-1]:  # what was sent again
        assert did_nothing(outcome) or (request.repeatable and leaves_open(outcome))
    last, open_before = seen[-1], any(map(leaves_open, seen))
    if last is GOOD:
        assert raised is None
        return
    assert raised is not None
    may_go_on = did_nothing(last) or (request.repeatable and leaves_open(last))
    assert len(seen) == attempts or not may_go_on
    if request.is_safe:
        assert not isinstance(raised, OutcomeUnknown) or not isinstance(last, Broken)
    elif isinstance(raised, OutcomeUnknown):
        assert open_before
    elif open_before:  # a refusal that holds whatever became of the attempt before
        assert not did_nothing(last)
        assert raised.code not in ("internal", "unauthenticated", "forbidden")
    assert all(FIRST_BOUND_S <= bound <= LONGEST_BOUND_S for bound in world.pauses)
    assert world.pauses == sorted(world.pauses)


def test_pauses_grow_up_to_a_bound() -> None:
    """Doubled each time: 0.1 s, 0.2 s … 5 s."""
    world = World([refusal("overloaded")] * 9 + [GOOD], attempts=10)
    world.send(make_request("GET", "/a", None, {}, api_key=None, key=None, repeatable=None))
    assert world.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_a_server_is_told_of_a_little_less_time_than_there_is() -> None:
    """So that its own answer that the time is up comes in time."""
    world = World([GOOD, GOOD], attempts=1)
    world.send(make_request("GET", "/a", None, {}, api_key=None, key=None, repeatable=None))
    world.send(make_request("PATCH", "/a", None, {}, api_key=None, key=None, repeatable=None))
    assert 9.7 <= float(world.sent[0]) <= 9.75
    assert 29.7 <= float(world.sent[1]) <= 29.75


def test_rate_limits_are_told_with_the_time_to_wait() -> None:
    """When they outlast the attempts."""
    reply = Reply(429, {"content-type": "application/problem+json", "retry-after": "0"}, b'{"code": "rate_limited"}')
    world = World([reply] * 3, attempts=3)
    with pytest.raises(RateLimited, match="The server answered 429") as caught:
        world.send(make_request("POST", "/api/users", None, {}, api_key=None, key=None, repeatable=None))
    assert caught.value.retry_after_s == 0
