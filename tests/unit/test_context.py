"""Contexts: deadlines, cancelling, and what they leave behind."""

from __future__ import annotations

import gc
import weakref

import pytest

from service.concurrency.context import background, with_cancel, with_deadline, with_timeout
from service.errors import ClientClosedRequest, DeadlineExceeded, Overloaded


class Clock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Holder:
    """Something that holds a context and can be watched (a Context has no room for a weak reference)."""

    def __init__(self, ctx: object) -> None:
        self.ctx = ctx

    def told(self) -> None:
        """A callback."""


def test_a_deadline_ends_a_context() -> None:
    """Before it nothing, from it on DeadlineExceeded; the rest is never negative."""
    clock = Clock()
    ctx = with_timeout(background(), 5, clock)
    assert (ctx.error(), ctx.remaining()) == (None, 5)
    clock.now = 105.0
    assert ctx.remaining() == 0
    with pytest.raises(DeadlineExceeded):
        ctx.check()
    clock.now = 1000.0
    assert ctx.remaining() == 0


def test_a_derived_context_ends_no_later_than_its_parent() -> None:
    """The earlier deadline counts, whichever has it."""
    clock = Clock()
    parent = with_deadline(background(), 110, clock)
    assert with_timeout(parent, 60, clock).deadline == 110
    assert with_timeout(parent, 3, clock).deadline == 103


def test_cancelling_reaches_the_whole_tree_with_its_cause() -> None:
    """Children and grandchildren end, the parent does not; the first cause stays."""
    root = with_cancel(background())
    child = with_cancel(root)
    grandchild = with_cancel(child)
    child.cancel(Overloaded("enough"))
    child.cancel(ClientClosedRequest("later"))
    assert root.error() is None
    assert isinstance(child.error(), Overloaded)
    assert isinstance(grandchild.error(), Overloaded)


def test_callbacks_run_once_unless_they_left() -> None:
    """Registered ones once, unregistered ones never, late ones at once."""
    ctx, called = with_cancel(background()), []
    ctx.on_done(lambda: called.append("first"))
    ctx.on_done(lambda: called.append("left"))()
    ctx.cancel()
    ctx.cancel()
    ctx.on_done(lambda: called.append("late"))
    assert called == ["first", "late"]


def test_an_ended_child_is_forgotten_by_its_parent() -> None:
    """A parent that lives long holds no reference to what was derived from it."""
    parent = with_cancel(background())
    for _ in range(3):
        with with_cancel(parent):
            assert len(parent._callbacks) == 1
    assert parent._callbacks == {}


def test_a_deadline_that_was_noticed_ends_what_is_derived() -> None:
    """Whoever looks first announces it to the callbacks and the children, once."""
    clock, called = Clock(), []
    parent = with_timeout(background(), 5, clock)
    child = with_cancel(parent)
    child.on_done(lambda: called.append("child"))
    clock.now = 105.0
    assert called == []
    for _ in range(2):
        assert isinstance(parent.error(), DeadlineExceeded)
    assert called == ["child"]
    assert isinstance(child.error(), DeadlineExceeded)


def test_what_is_derived_from_an_ended_context_has_ended() -> None:
    """With the same error, from the start."""
    parent = with_cancel(background())
    parent.cancel(Overloaded("enough"))
    assert isinstance(with_timeout(parent, 60).error(), Overloaded)


def test_cancelling_a_child_leaves_its_siblings() -> None:
    """Only what is derived from it ends."""
    parent = with_cancel(background())
    child, sibling = with_cancel(parent), with_cancel(parent)
    child.cancel()
    assert (parent.error(), sibling.error()) == (None, None)


def test_an_ended_context_holds_nothing() -> None:
    """Neither callbacks nor children: what they hold can be freed while somebody keeps the context."""
    parent = with_cancel(background())
    holder = Holder(with_cancel(parent))
    gone = weakref.ref(holder)
    parent.on_done(holder.told)
    parent.cancel()
    del holder
    gc.collect()
    assert parent._callbacks == {}
    assert gone() is None


def test_the_background_holds_no_reference() -> None:
    """What is derived from it may simply be forgotten."""
    _ = [with_cancel(background()) for _ in range(3)]
    assert background()._callbacks == {}


def test_a_callback_may_use_its_context() -> None:
    """Callbacks run outside the lock: one that registers, cancels or derives does not stand still."""
    ctx, called = with_cancel(background()), []

    def callback() -> None:
        ctx.cancel()
        ctx.on_done(lambda: called.append("registered"))
        called.append(type(with_cancel(ctx).error()))

    ctx.on_done(callback)
    ctx.cancel()
    assert called == ["registered", ClientClosedRequest]


def test_a_with_block_cancels_at_its_end() -> None:
    """Also when it raises."""
    with pytest.raises(ZeroDivisionError), with_timeout(background(), 60) as ctx:
        _ = 1 / 0
    assert isinstance(ctx.error(), ClientClosedRequest)


def test_the_background_never_ends() -> None:
    """It cannot be cancelled, and says what to do instead."""
    assert background().remaining() is None
    with pytest.raises(RuntimeError, match="derive one with with_cancel"):
        background().cancel()
