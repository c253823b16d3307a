"""Channels and select held against a reference model: generated calls, one after the other, each until everybody waits."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from service.concurrency.channel import Channel, ChannelClosed, WouldBlock
from service.concurrency.context import Context, with_cancel
from service.concurrency.select import Receive, Send, select
from service.errors import ClientClosedRequest
from tests.core.scheduler import Scheduler, Task

SENT, CLOSED, CANCELLED, BLOCKED = "sent", "closed", "cancelled", "would block"
CHANNELS = 3


@dataclass(eq=False)
class Operation:
    """A call and, once it has ended, what must have come of it: the case that was done, and its result."""

    cases: list[tuple[str, int, int]]  # what, on which channel, which value
    task: Task
    ctx: Context
    selects: bool = False
    expected: tuple[int, Any] | None = None


@dataclass
class ModelChannel:
    """What a channel is: a buffer, two queues of (operation, case), and whether it is closed."""

    capacity: int
    buffer: list[int] = field(default_factory=list)
    senders: list[tuple[Operation, int]] = field(default_factory=list)
    receivers: list[tuple[Operation, int]] = field(default_factory=list)
    closed: bool = False


class ChannelMachine(RuleBasedStateMachine):
    """Three channels of drawn capacities under random calls."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Scheduler(Random(0).randrange)
        self.run.__enter__()
        self.operations: list[Operation] = []
        self.numbers = 0

    @initialize(capacities=st.lists(st.integers(0, 3), min_size=CHANNELS, max_size=CHANNELS))
    def make(self, capacities: list[int]) -> None:
        """Make the channels and their models."""
        self.channels = [Channel[int](capacity) for capacity in capacities]
        self.models = [ModelChannel(capacity) for capacity in capacities]

    @rule(n=st.integers(0, CHANNELS - 1))
    def send(self, n: int) -> None:
        """A send that waits."""
        self._begin([self._case("send", n)], lambda ctx, cases: self.channels[n].send(ctx, cases[0][2]))

    @rule(n=st.integers(0, CHANNELS - 1))
    def receive(self, n: int) -> None:
        """A receive that waits."""
        self._begin([self._case("receive", n)], lambda ctx, cases: self.channels[n].receive(ctx))

    @rule(n=st.integers(0, CHANNELS - 1))
    def send_nowait(self, n: int) -> None:
        """A send that does not wait."""
        self._begin([self._case("send", n)], lambda ctx, cases: self.channels[n].send_nowait(cases[0][2]), waits=False)

    @rule(n=st.integers(0, CHANNELS - 1))
    def receive_nowait(self, n: int) -> None:
        """A receive that does not wait."""
        self._begin([self._case("receive", n)], lambda ctx, cases: self.channels[n].receive_nowait(), waits=False)

    @rule(
        cases=st.lists(st.tuples(st.sampled_from(["send", "receive"]), st.integers(0, CHANNELS - 1)), min_size=1, max_size=4),
        waits=st.booleans(),
    )
    def select(self, cases: list[tuple[str, int]], waits: bool) -> None:
        """A select over some cases, perhaps with a default."""

        def call(ctx: Context, cases: list[tuple[str, int, int]]) -> Any:
            made = [
                Send(self.channels[n], value) if what == "send" else Receive(self.channels[n]) for what, n, value in cases
            ]
            done = select(ctx, *made, timeout_s=None if waits else 0)
            return (None if done.case is None else made.index(done.case)), done

        self._begin([self._case(what, n) for what, n in cases], call, waits=waits, selects=True)

    @rule(n=st.integers(0, CHANNELS - 1))
    def close(self, n: int) -> None:
        """Close a channel, perhaps once more."""
        model = self.models[n]
        task = self.run.spawn(self.channels[n].close)
        self.run.until_parked()
        assert isinstance(task.error, ChannelClosed) == model.closed
        model.closed = True
        for operation, case in [*model.receivers, *model.senders]:
            self._complete(operation, case, CLOSED)

    @precondition(lambda self: any(operation.expected is None for operation in self.operations))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """End the context of a call that waits."""
        operation = data.draw(st.sampled_from([operation for operation in self.operations if operation.expected is None]))
        self.run.spawn(operation.ctx.cancel)
        self.run.until_parked()
        self._complete(operation, 0, CANCELLED)

    @invariant()
    def everybody_is_where_the_model_says(self) -> None:
        """The right calls have ended, with the right results, and the channels hold what the models hold."""
        for operation in self.operations:
            assert operation.task.ended == (operation.expected is not None)
            if operation.expected is not None:
                self._check(operation, *operation.expected)
        for channel, model in zip(getattr(self, "channels", ()), getattr(self, "models", ()), strict=True):
            now = channel.statistics()
            assert now.buffered == len(model.buffer) <= model.capacity
            assert (now.senders_waiting, now.receivers_waiting) == (len(model.senders), len(model.receivers))
        self.operations = [operation for operation in self.operations if operation.expected is None]

    def teardown(self) -> None:
        """Let go of whoever waits still."""
        self.run.__exit__(None, None, None)

    def _case(self, what: str, n: int) -> tuple[str, int, int]:
        self.numbers += 1
        return what, n, self.numbers

    def _begin(self, cases: list[tuple[str, int, int]], call: Any, *, waits: bool = True, selects: bool = False) -> None:
        ready = [n for n, case in enumerate(cases) if self._is_ready(case)]
        ctx = with_cancel(self.run.ctx)
        operation = Operation(cases, self.run.spawn(call, ctx, cases), ctx, selects)
        self.operations.append(operation)
        self.run.until_parked()
        if ready:
            self._apply(operation, self._chosen(operation, ready))
        elif not waits:
            operation.expected = 0, BLOCKED
        else:
            for n, (what, channel, _) in enumerate(cases):
                model = self.models[channel]
                (model.senders if what == "send" else model.receivers).append((operation, n))

    def _is_ready(self, case: tuple[str, int, int]) -> bool:
        what, n, _ = case
        model = self.models[n]
        if what == "send":
            return model.closed or bool(model.receivers) or len(model.buffer) < model.capacity
        return model.closed or bool(model.buffer or model.senders)

    def _chosen(self, operation: Operation, ready: list[int]) -> int:
        """The case that the call says it has done, which must be one that could be; the only one, unless it selects."""
        if not operation.selects:
            return 0
        if operation.task.error is not None:  # a send on a closed channel
            assert isinstance(operation.task.error, ChannelClosed)
            return next(n for n in ready if operation.cases[n][0] == "send" and self.models[operation.cases[n][1]].closed)
        case, _ = operation.task.result()
        assert case in ready
        return int(case)

    def _apply(self, operation: Operation, n: int) -> None:
        what, channel, value = operation.cases[n]
        model = self.models[channel]
        if what == "send":
            if model.closed:
                operation.expected = n, CLOSED
            elif model.receivers:
                self._complete(*model.receivers[0], value)
                operation.expected = n, SENT
            else:
                model.buffer.append(value)
                operation.expected = n, SENT
        elif model.buffer:
            operation.expected = n, model.buffer.pop(0)
            if model.senders:
                sender, case = model.senders[0]
                model.buffer.append(sender.cases[case][2])
                self._complete(sender, case, SENT)
        elif model.senders:
            sender, case = model.senders[0]
            operation.expected = n, sender.cases[case][2]
            self._complete(sender, case, SENT)
        else:
            operation.expected = n, CLOSED

    def _complete(self, operation: Operation, case: int, result: Any) -> None:
        if operation.expected is None:
            operation.expected = case, result
        for model in self.models:
            model.senders = [entry for entry in model.senders if entry[0] is not operation]
            model.receivers = [entry for entry in model.receivers if entry[0] is not operation]

    def _check(self, operation: Operation, case: int, result: Any) -> None:
        """The call ended as it must have."""
        error, value = operation.task.error, operation.task.value
        if result == CANCELLED:
            assert isinstance(error, ClientClosedRequest)
        elif result == BLOCKED:
            assert value[0] is None if operation.selects else isinstance(error, WouldBlock)
        elif result == CLOSED and (operation.cases[case][0] == "send" or not operation.selects):
            assert isinstance(error, ChannelClosed)
        elif operation.selects:
            assert error is None
            done, selected = value
            assert done == case
            assert selected.ok == (result != CLOSED)
            assert selected.value == (result if operation.cases[case][0] == "receive" and selected.ok else None)
        else:
            assert error is None
            assert value == (None if result == SENT else result)


TestChannels = ChannelMachine.TestCase
TestChannels.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
