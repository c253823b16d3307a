"""Contexts: deadlines, cancelling, values, and what they leave behind."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress
from random import Random

import pytest

from service.concurrency import clock as clock_module
from service.concurrency.channel import Channel, WouldBlock
from service.concurrency.clock import SystemClock
from service.concurrency.context import (
    Context,
    Key,
    background,
    origin,
    with_cancel,
    with_deadline,
    with_timeout,
    with_value,
)
from service.concurrency.select import Receive, select
from service.errors import ClientClosedRequest, DeadlineExceeded, Overloaded
from tests.core.calls import Call
from tests.core.clock import ManualClock
from tests.core.scheduler import Scheduler
from tests.serving import wait_until


def test_a_deadline_ends_a_context() -> None:
    """Before it nothing, from it on DeadlineExceeded; the rest is never negative."""
    clock = ManualClock(100)
    ctx = with_timeout(background(clock), 5)
    assert (ctx.deadline, ctx.error(), ctx.remaining()) == (105, None, 5)
    clock.advance(5)
    assert ctx.remaining() == 0
    with pytest.raises(DeadlineExceeded):
        ctx.check()
    clock.advance(900)
    assert ctx.remaining() == 0


def test_a_time_that_is_no_number_is_refused() -> None:
    """Every comparison with it would be false, so it would never end."""
    for derive in (with_timeout, with_deadline):
        with pytest.raises(ValueError, match="not NaN"):
            derive(background(), float("nan"))


def test_a_derived_context_ends_no_later_than_its_parent() -> None:
    """The earlier deadline counts, whichever has it; without one there is no rest to tell."""
    root = background(ManualClock(100))
    parent = with_deadline(root, 110)
    assert with_timeout(parent, 60).deadline == 110
    assert with_timeout(parent, 3).deadline == 103
    assert with_cancel(parent).deadline == 110
    assert (with_cancel(root).deadline, with_cancel(root).remaining()) == (None, None)


def test_cancelling_reaches_the_whole_tree_with_its_cause() -> None:
    """Children and grandchildren end, parent and siblings do not; the first cause stays."""
    root = with_cancel(background())
    child, sibling = with_cancel(root), with_cancel(root)
    grandchild = with_value(with_cancel(child), Key("any"), 1)
    child.cancel(Overloaded("enough"))
    child.cancel(ClientClosedRequest("later"))
    assert (root.error(), sibling.error()) == (None, None)
    assert isinstance(child.error(), Overloaded)
    assert grandchild.error() is child.error()


def test_a_cause_of_another_kind_is_kept_beside_the_error() -> None:
    """The error is of the taxonomy, the cause is what was given; without a cause both are the same."""
    ctx, reason = with_cancel(background()), ValueError("a reason")
    assert ctx.cause() is None
    ctx.cancel(reason)
    assert isinstance(ctx.error(), ClientClosedRequest)
    assert ctx.cause() is reason
    with pytest.raises(ClientClosedRequest) as raised:
        ctx.check()
    assert raised.value.__cause__ is reason
    other = with_cancel(background())
    other.cancel()
    assert other.cause() is other.error()


def test_a_with_block_cancels_at_its_end() -> None:
    """Whether it ends well or not."""
    with with_cancel(background()) as ctx:
        assert ctx.error() is None
    assert ctx.error() is not None
    with pytest.raises(ValueError, match="any"), with_timeout(background(), 60) as ctx:
        raise ValueError("any")
    assert isinstance(ctx.error(), ClientClosedRequest)


def test_the_background_never_ends() -> None:
    """Cancelling it is a mistake, and says what to do instead."""
    with pytest.raises(RuntimeError, match="derive one"):
        background().cancel()
    background().check()
    assert (background().error(), background().deadline) == (None, None)


def test_values_are_inherited_and_can_be_replaced() -> None:
    """The nearest counts; two keys of one name are two keys; the parent does not learn of it."""
    name, other = Key[str]("name"), Key[str]("name")
    parent = with_value(background(), name, "one")
    child = with_cancel(with_value(with_timeout(parent, 60), name, "two"))
    assert (parent.value(name), child.value(name), child.value(other)) == ("one", "two", None)
    assert background().value(name) is None
    child.cancel()
    assert child.value(name) == "two"


def test_callbacks_run_once_unless_they_left() -> None:
    """Registered ones once, unregistered ones never, late ones at once."""
    ctx, called = with_cancel(background()), []
    ctx.on_done(lambda: called.append("first"))
    forget = ctx.on_done(lambda: called.append("left"))
    forget()
    forget()
    ctx.cancel()
    ctx.cancel()
    ctx.on_done(lambda: called.append("late"))
    assert called == ["first", "late"]


def test_a_deadline_is_announced_to_callbacks() -> None:
    """At its time, though nobody looks, also to those of a derived context; then no timer is left."""
    clock, called = ManualClock(), []
    parent = with_timeout(background(clock), 5)
    with_cancel(parent).on_done(lambda: called.append("child"))
    parent.on_done(lambda: called.append("parent"))
    clock.advance(4.9)
    assert called == []
    clock.advance(0.1)
    assert sorted(called) == ["child", "parent"]
    assert clock.pending() == 0


def test_a_timer_is_there_only_while_somebody_is_to_be_called() -> None:
    """Deadlines cost none; unregistering the last callback, or cancelling, takes it away."""
    clock = ManualClock()
    ctx = with_timeout(background(clock), 5)
    assert clock.pending() == 0
    forget = [ctx.on_done(lambda: None) for _ in range(3)]
    assert clock.pending() == 1
    for unregister in forget:
        unregister()
    assert clock.pending() == 0
    ctx.on_done(lambda: None)
    ctx.cancel()
    assert clock.pending() == 0


def test_a_callback_that_fails_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the rest are called."""
    ctx, called = with_cancel(background()), []
    ctx.on_done(lambda: called[0])
    ctx.on_done(lambda: called.append(1))
    ctx.cancel()
    assert called == [1]
    assert "waited for the end of a context failed" in caplog.text


def test_callbacks_of_the_derived_come_first() -> None:
    """When a callback of the parent runs, everything below has ended."""
    parent, seen = with_cancel(background()), []
    child = with_cancel(parent)
    parent.on_done(lambda: seen.append(("parent", child.error() is not None)))
    child.on_done(lambda: seen.append(("child", parent.error() is not None)))
    parent.cancel()
    assert seen == [("child", True), ("parent", True)]


def test_a_callback_may_use_its_context() -> None:
    """Callbacks run outside the lock: one that registers, cancels or derives does not stand still."""
    ctx, called = with_cancel(background()), []

    def callback() -> None:
        ctx.cancel()
        ctx.on_done(lambda: called.append("inner"))
        called.append(with_cancel(ctx).error())

    ctx.on_done(callback)
    ctx.cancel()
    assert called == ["inner", ctx.error()]


def test_what_is_derived_from_an_ended_context_has_ended() -> None:
    """With the same error, from the start."""
    parent = with_cancel(background())
    parent.cancel(Overloaded("enough"))
    assert with_timeout(parent, 60).error() is parent.error()


def test_an_ended_child_is_forgotten_by_its_parent() -> None:
    """A parent that lives long holds no reference to what was derived from it."""
    parent = with_cancel(background())
    for _ in range(3):
        with with_cancel(parent):
            assert len(parent._children) == 1
    assert parent._children == {}


def test_an_ended_context_holds_nothing() -> None:
    """Neither callbacks nor children nor its parent: what they hold is freed while somebody keeps the context."""
    parent = with_cancel(background())
    child = with_cancel(parent)
    grandchild = weakref.ref(with_cancel(child))
    child.on_done(grandchild.__hash__)
    parent.cancel()
    gone = weakref.ref(parent)
    del parent
    gc.collect()
    assert (grandchild(), gone()) == (None, None)
    assert child._callbacks is None


def test_the_background_holds_no_reference() -> None:
    """What is derived from it may simply be forgotten."""
    made = [weakref.ref(with_cancel(background())) for _ in range(3)]
    gc.collect()
    assert [ref() for ref in made] == [None] * 3


def test_a_tree_of_any_depth_is_cancelled() -> None:
    """Without recursion: 20,000 contexts, each derived from the one before."""
    root = deepest = with_cancel(background())
    for _ in range(20_000):
        deepest = with_cancel(deepest)
    root.cancel(Overloaded("enough"))
    assert deepest.error() is root.error()


def test_its_end_can_be_waited_for() -> None:
    """Cancelled or by its deadline; a timeout tells that it has not ended."""
    clock = ManualClock()
    for end in (lambda ctx: ctx.cancel(), lambda ctx: clock.advance(5)):
        ctx = with_timeout(background(clock), 5)
        call = Call(ctx.done.wait)
        clock.wait_for_pending(1)
        end(ctx)
        assert call.result() is True
        assert ctx.done.wait() is True
    ctx = with_timeout(background(clock), 5)
    call = Call(ctx.done.wait, 1)
    clock.wait_for_pending(1)
    clock.advance(1)
    assert call.result() is False
    assert (ctx.done == ctx.done, ctx.done == with_cancel(ctx).done) == (True, False)


def test_ten_thousand_deadlines_share_one_timer_thread() -> None:
    """And it ends when the last of them is gone (the leak check waits for that)."""
    import threading

    before = threading.active_count()
    with with_cancel(background()) as parent:
        contexts = [with_timeout(parent, 60 + n) for n in range(10_000)]
        for ctx in contexts:
            ctx.on_done(lambda: None)
        assert threading.active_count() <= before + 1
    wait_until(lambda: threading.active_count() <= before, 10)


def test_a_callback_is_called_exactly_once_in_any_interleaving() -> None:
    """Of two that cancel, one that registers and one that derives, whoever comes first."""
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            parent = with_cancel(run.ctx)
            called: list[str] = []
            run.spawn(lambda parent=parent, called=called: parent.on_done(lambda: called.append("parent")))
            run.spawn(
                lambda parent=parent, called=called: with_cancel(parent).on_done(lambda: called.append("child"))
            )
            run.spawn(parent.cancel)
            run.spawn(parent.cancel)
            run.until_done()
            assert sorted(called) == ["child", "parent"]
            assert parent._children is None


def test_a_wait_meets_a_cancellation_in_any_interleaving() -> None:
    """It never sleeps on, whichever comes first."""
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            ctx = with_cancel(with_timeout(run.ctx, 50))
            waiting = run.spawn(ctx.done.wait)
            run.spawn(ctx.cancel)
            run.until_done()
            assert waiting.result() is True
            assert run.now < 50
            assert ctx._callbacks is None


def test_unregistering_meets_the_deadline_in_any_interleaving() -> None:
    """The callback is called once or never (both happen), and no timer stays."""
    counts = set()
    for seed in range(300):
        with Scheduler(Random(seed).randrange) as run:
            ctx, called = with_timeout(run.ctx, 5), []

            def register_and_leave(ctx=ctx, called=called, run=run) -> None:  # type: ignore[no-untyped-def]
                forget = ctx.on_done(lambda: called.append(1))
                run.ctx.done.wait(5)
                forget()

            run.spawn(register_and_leave)
            run.until_done()
            counts.add(called.count(1))
            assert run.now == 5
            assert (ctx._callbacks, ctx._disarm) in ((None, None), ({}, None))
    assert counts == {0, 1}


def test_everybody_is_raised_a_copy_of_the_error() -> None:
    """With what it says and its cause; the context's own has no traceback, and refers to nobody's trouble."""
    ctx = with_cancel(background())
    ctx.cancel(Overloaded("enough", retry_after_s=7))
    raised = []
    for n in range(2):
        try:
            raise ValueError(f"the trouble of request {n}")
        except ValueError:
            with pytest.raises(Overloaded, match="enough") as info:
                ctx.check()
            raised.append(info.value)
    error = ctx.error()
    assert error is not None
    assert (error.__traceback__, error.__context__) == (None, None)
    assert [str(one.__context__) for one in raised] == ["the trouble of request 0", "the trouble of request 1"]
    assert {one.retry_after_s for one in raised} == {7}
    assert all(origin(one) is origin(error) is error for one in raised)
    assert origin(raised[0].again()) is error


def test_a_context_that_was_checked_is_freed_without_the_collector() -> None:
    """Its error holds no frame that holds the context."""

    def checked() -> weakref.ref[Context]:
        ctx = with_cancel(background())
        ctx.cancel()
        with suppress(ClientClosedRequest):
            ctx.check()
        return weakref.ref(ctx)

    gc.collect()
    gc.disable()
    try:
        assert checked()() is None
    finally:
        gc.enable()


def test_the_cause_is_what_was_given() -> None:
    """Also an error of the taxonomy that has a cause itself, and a copy that another context raised."""
    given = Overloaded("enough")
    given.__cause__ = KeyError("deeper")
    for cause in (given, given.again()):
        ctx = with_cancel(background())
        derived = with_cancel(ctx)
        ctx.cancel(cause)
        assert ctx.cause() is derived.cause() is with_cancel(ctx).cause() is cause
        assert ctx.error() is given


def test_a_callback_that_comes_late_and_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """As one that came in time."""
    ctx = with_cancel(background())
    ctx.cancel()
    ctx.on_done(lambda: {}[0])
    assert "waited for the end of a context failed" in caplog.text


def test_without_a_timer_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no thread, whoever asked to be called is told, and a select leaves nothing behind."""

    def refuse(**_: object) -> None:
        raise RuntimeError("can't start new thread")

    ctx, channel = with_timeout(background(SystemClock()), 60), Channel[int]()
    with monkeypatch.context() as patched:
        patched.setattr(clock_module, "Thread", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            ctx.on_done(lambda: None)
        with pytest.raises(RuntimeError, match="new thread"):
            select(background(), Receive(channel), ctx.done)
    assert not ctx._callbacks
    with pytest.raises(WouldBlock):
        channel.send_nowait(1)
