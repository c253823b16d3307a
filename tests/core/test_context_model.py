"""Contexts held against a reference model: random trees, deadlines, cancellations, callbacks and values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.concurrency.context import Context, Key, background, with_cancel, with_deadline, with_timeout, with_value
from service.errors import ClientClosedRequest, DeadlineExceeded, LedgerdError, Overloaded
from tests.core.clock import ManualClock

KEYS = [Key[int]("a"), Key[int]("b")]
TENTHS = st.integers(0, 40).map(lambda n: n / 10)


@dataclass(eq=False)
class Node:
    """What a context is: a deadline, values, callbacks by number, how often each was called, and how it ended."""

    ctx: Context
    parent: Node | None
    deadline: float | None
    values: dict[Key[int], int]
    registered: dict[int, Any] = field(default_factory=dict)
    expected_calls: dict[int, int] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)
    ended: str | None = None


class ContextMachine(RuleBasedStateMachine):
    """A forest of contexts on a clock that is turned by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(0.0)
        self.nodes = [Node(background(self.clock), None, None, {})]
        self.numbers = 0

    @rule(data=st.data(), kind=st.sampled_from(["cancel", "timeout", "deadline", "value"]), time=TENTHS)
    def derive(self, data: st.DataObject, kind: str, time: float) -> None:
        """Derive a context of some kind from any, ended ones among them."""
        parent = data.draw(st.sampled_from(self.nodes))
        deadline, values = parent.deadline, dict(parent.values)
        if kind == "cancel":
            ctx = with_cancel(parent.ctx)
        elif kind == "value":
            key = data.draw(st.sampled_from(KEYS))
            values[key] = len(self.nodes)
            ctx = with_value(parent.ctx, key, len(self.nodes))
        else:
            own = self.clock.now() + time if kind == "timeout" else time
            ctx = with_timeout(parent.ctx, time) if kind == "timeout" else with_deadline(parent.ctx, own)
            deadline = own if deadline is None else min(own, deadline)
        node = Node(ctx, parent, deadline, values, ended=parent.ended)
        self.nodes.append(node)

    @rule(data=st.data())
    def register(self, data: st.DataObject) -> None:
        """Ask to be called when one ends."""
        node = data.draw(st.sampled_from(self.nodes))
        self.numbers += 1
        number, calls = self.numbers, node.calls
        calls[number] = 0

        def callback() -> None:
            calls[number] += 1

        node.registered[number] = node.ctx.on_done(callback)
        self._notice_deadlines()
        node.expected_calls[number] = 0 if node.ended is None else 1

    @rule(data=st.data())
    def unregister(self, data: st.DataObject) -> None:
        """Leave again."""
        nodes = [node for node in self.nodes if node.registered]
        if nodes:
            node = data.draw(st.sampled_from(nodes))
            number = data.draw(st.sampled_from(sorted(node.registered)))
            node.registered.pop(number)()

    @rule(data=st.data(), cause=st.sampled_from([None, Overloaded("enough"), ValueError("a reason")]))
    def cancel(self, data: st.DataObject, cause: Exception | None) -> None:
        """Cancel one, perhaps once more."""
        node = data.draw(st.sampled_from(self.nodes))
        if node.parent is None:
            return
        self._notice_deadlines()
        node.ctx.cancel(cause)
        if node.ended is None:
            self._end(node, "overloaded" if isinstance(cause, LedgerdError) else "client_closed_request")

    @rule(seconds=TENTHS)
    def pass_time(self, seconds: float) -> None:
        """Turn the clock."""
        self.clock.advance(seconds)
        self._notice_deadlines()

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        """Errors, values, and who was called how often."""
        self._notice_deadlines()
        for node in self.nodes:
            error = node.ctx.error()
            assert (None if error is None else error.code) == node.ended
            assert isinstance(error, (DeadlineExceeded, Overloaded, ClientClosedRequest, type(None)))
            assert [node.ctx.value(key) for key in KEYS] == [node.values.get(key) for key in KEYS]
            assert node.calls == node.expected_calls
            if node.ended is not None:
                assert (node.ctx._callbacks, node.ctx._children) == (None, None)
            assert node.ctx.deadline == node.deadline
        open_deadlines = [node for node in self.nodes if node.ended is None and node.deadline is not None and node.registered]
        assert self.clock.pending() == len(open_deadlines)

    def _notice_deadlines(self) -> None:
        for node in self.nodes:
            if node.ended is None and node.deadline is not None and node.deadline <= self.clock.now():
                self._end(node, "deadline_exceeded")

    def _end(self, node: Node, how: str) -> None:
        """It ends, and what is derived from it."""
        for other in self.nodes:
            if other.ended is None and self._is_below(other, node):
                other.ended = how
                for number in other.registered:
                    other.expected_calls[number] += 1

    def _is_below(self, node: Node | None, top: Node) -> bool:
        while node is not None and node is not top:
            node = node.parent
        return node is top


TestContexts = ContextMachine.TestCase
TestContexts.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
