"""RWLock held against a reference model: a queue in order of arrival, readers let in together."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from service.concurrency import rwlock
from service.concurrency.context import Context, origin, with_cancel
from service.concurrency.rwlock import RWLock
from tests.core.scheduler import Scheduler, Task

HOLDERS = st.integers(0, 3)


@dataclass
class Waiting:
    """A call that waits."""

    holder: int
    writes: bool
    task: Task
    ctx: Context


class RWLockMachine(RuleBasedStateMachine):
    """Four holders, who read, write, nest, release and give up."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Scheduler(lambda n: 0)
        self.run.__enter__()
        self.lock = RWLock()
        self.reads = dict.fromkeys(range(4), 0)
        self.writer: int | None = None
        self.queue: list[Waiting] = []

    @rule(holder=HOLDERS, writes=st.booleans())
    def acquire(self, holder: int, writes: bool) -> None:
        """Read or write, at once, later, or not at all where it would wait for itself."""
        if any(waiting.holder == holder for waiting in self.queue):
            return
        ctx = with_cancel(self.run.ctx)
        task = self._as(holder, lambda: (self.lock.acquire_write if writes else self.lock.acquire_read)(ctx))
        if self.writer == holder or (writes and self.reads[holder]):
            assert isinstance(task.error, RuntimeError)
        elif not writes and self.reads[holder]:
            assert task.result() is None
            self.reads[holder] += 1
        else:
            self.queue.append(Waiting(holder, writes, task, ctx))
            self._admit()

    @rule(holder=HOLDERS, writes=st.booleans())
    def release(self, holder: int, writes: bool) -> None:
        """Release, held or not."""
        if any(waiting.holder == holder for waiting in self.queue):
            return
        task = self._as(holder, self.lock.release_write if writes else self.lock.release_read)
        held = self.writer == holder if writes else self.reads[holder] > 0
        assert isinstance(task.error, RuntimeError) != held
        if held and writes:
            self.writer = None
        elif held:
            self.reads[holder] -= 1
        self._admit()

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """End the context of one that waits."""
        if self.queue:
            waiting = data.draw(st.sampled_from(self.queue))
            self.run.spawn(waiting.ctx.cancel)
            self.run.until_parked()
            assert origin(waiting.task.error) is waiting.ctx.error()
            self.queue.remove(waiting)
            self._admit()

    @invariant()
    def the_lock_is_held_as_the_model_says(self) -> None:
        """By the same holders, with the same queue; who waits in the model waits."""
        assert self.lock._writer == self.writer
        assert self.lock._readers == {holder: times for holder, times in self.reads.items() if times}
        assert [waiting.holder for waiting in self.lock._queue] == [waiting.holder for waiting in self.queue]
        assert not any(waiting.task.ended for waiting in self.queue)
        assert self.writer is None or not any(self.reads.values())

    def teardown(self) -> None:
        """Let go of whoever waits still."""
        self.run.__exit__(None, None, None)

    def _as(self, holder: int, call: object) -> Task:
        """Run `call` as `holder`: a task of its own, which says that it is the holder."""
        before = rwlock.current
        rwlock.current = lambda: holder  # type: ignore[assignment]
        try:
            task = self.run.spawn(call)
            self.run.until_parked()
        finally:
            rwlock.current = before
        return task

    def _admit(self) -> None:
        while self.queue and self.writer is None:
            first = self.queue[0]
            if first.writes and any(self.reads.values()):
                return
            self.queue.pop(0)
            assert first.task.ended
            assert first.task.error is None
            if first.writes:
                self.writer = first.holder
            else:
                self.reads[first.holder] = 1


TestRWLock = RWLockMachine.TestCase
TestRWLock.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
