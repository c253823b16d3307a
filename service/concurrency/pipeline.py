"""Pipelines: values flow from a source through stages to a sink, each stage in threads of its own, over bounded channels.

    with Pipeline(ctx) as line:
        rows = line.generate(read(file))
        checked = line.stage(rows, check, workers=4, ordered=True)     # fan-out and fan-in
        line.sink(line.transform(checked, batches), post)

Guarantees:

- When the block is left, every stage has ended and every source that is a generator has been closed, whatever happened. (One
  that is wrapped, in a `map` say, is closed when the last reference to it is gone.)
- The first error, in a stage or in the block, stops every stage and is raised; so does the end of the context. A stage that
  was stopped never sees the end of its input, so nothing half done looks complete.
- Memory is bounded: at most `capacity` values wait between two stages, and a batch of at most as many, or `workers` values,
  are in a stage. An ordered stage of several workers also keeps up to `capacity` results and a batch of them in order.
- One worker, or `ordered`: values leave in the order in which they came. Otherwise each leaves as soon as it is done.
- An output that nobody takes is an error, and so is a transform that ends before its input does.
- A consumer of `results` that leaves early stops the pipeline quietly. Whether it has left early, or has taken the last value
  and not looked further, is seen by the next value, or the end, that comes: the end of the block waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from service.concurrency.channel import Channel, ChannelClosed
from service.concurrency.context import Context
from service.concurrency.group import Group
from service.concurrency.primitives import Lock
from service.concurrency.promise import Promise
from service.errors import LedgerdError

T = TypeVar("T")
U = TypeVar("U")


class Pipeline:
    """See the module. `ctx` is the context of its stages."""

    def __init__(self, ctx: Context, *, capacity: int = 256, name: str = "pipeline") -> None:
        if capacity < 1:
            raise ValueError(f"a pipeline keeps at least one value between two stages, not {capacity}")
        self._group = Group(ctx, name=name)
        self.ctx = self._group.ctx
        self._capacity = capacity
        self._untaken: dict[Channel[Any], str] = {}
        self._begun: list[Iterator[Any]] = []  # results that somebody has begun to take

    def generate(self, source: Iterable[T]) -> Channel[T]:
        """The values of `source`, which is read in a thread of its own."""
        out: Channel[T] = self._output("generate")
        self._spawn(lambda: self._send_all(source, out), _Closing(out, 1))
        return out

    def stage(
        self, source: Channel[T], work: Callable[[T], U], *, workers: int = 1, ordered: bool = False
    ) -> Channel[U]:
        """`work` of each value. Several workers share the values among them."""
        if workers < 1:
            raise ValueError(f"a stage needs at least one worker, not {workers}")
        if workers > 1 and ordered:
            return self._stage_in_order(source, work, workers)
        out: Channel[U] = self._output(f"stage {_name(work)}")
        closing = _Closing(out, workers)
        self._take(source)
        for _ in range(workers):
            values = self._in_batches(source) if workers == 1 else source.values_until_closed(self.ctx)
            self._spawn(lambda values=values: self._send_all((work(value) for value in values), out), closing)  # type: ignore[misc]
        return out

    def transform(self, source: Channel[T], work: Callable[[Iterator[T]], Iterable[U]]) -> Channel[U]:
        """What `work` makes of all values together: filters, batches, sums. One worker."""
        out: Channel[U] = self._output(f"transform {_name(work)}")
        self._take(source)

        def run() -> None:
            values = self._in_batches(source)
            self._send_all(work(values), out)
            for _ in values:  # whoever sends them would wait for ever
                raise RuntimeError(f"transform {_name(work)} ended before its input did: it must read to the end")

        self._spawn(run, _Closing(out, 1))
        return out

    def merge(self, *sources: Channel[T]) -> Channel[T]:
        """The values of all `sources`, each as it comes: the order within one source is kept. Raises ValueError for none."""
        if not sources:
            raise ValueError("merge needs at least one source")
        out: Channel[T] = self._output("merge")
        closing = _Closing(out, len(sources))
        for source in sources:
            self._take(source)
            self._spawn(lambda source=source: self._send_all(self._in_batches(source), out), closing)  # type: ignore[misc]
        return out

    def sink(self, source: Channel[T], work: Callable[[T], object]) -> None:
        """Call `work` with each value, one after the other."""
        self._take(source)
        self._spawn(lambda: _exhaust(work(value) for value in self._in_batches(source)), None)

    def results(self, source: Channel[T]) -> Iterator[T]:
        """The values, in the thread that iterates. Raises the first error of the pipeline."""
        self._take(source)
        values = self._in_batches(source)
        self._begun.append(values)
        for value in values:  # noqa: UP028  # `yield from` would close it for a consumer that leaves
            yield value

    def _stage_in_order(self, source: Channel[T], work: Callable[[T], U], workers: int) -> Channel[U]:
        """A promise for each value goes ahead, in order, to whoever collects; any worker keeps it."""
        out: Channel[U] = self._output(f"stage {_name(work)}")
        self._take(source)
        jobs: Channel[tuple[T, Promise[U]]] = Channel(workers)
        promised: Channel[Promise[U]] = Channel(self._capacity)

        def distribute() -> None:
            for value in self._in_batches(source):
                promise: Promise[U] = Promise()
                promised.send(self.ctx, promise)
                jobs.send(self.ctx, (value, promise))
            jobs.close()
            promised.close()

        def work_off() -> None:
            for value, promise in jobs.values_until_closed(self.ctx):
                promise.keep(work(value))

        self._spawn(distribute, None)
        for _ in range(workers):
            self._spawn(work_off, None)
        self._spawn(
            lambda: self._send_all((promise.get(self.ctx) for promise in self._in_batches(promised)), out), _Closing(out, 1)
        )
        return out

    def _send_all(self, values: Iterable[T], out: Channel[T]) -> None:
        try:
            for value in values:
                out.send(self.ctx, value)
        finally:
            if isinstance(values, Generator):
                values.close()  # it cleans up here and now, in its own thread

    def _in_batches(self, source: Channel[T]) -> Iterator[T]:
        """The values until it is closed; taken by the batch, since a lock a value is what a stage costs."""
        while True:
            try:
                batch = source.receive_batch(self.ctx, self._capacity)
            except ChannelClosed:
                return
            for value in batch:
                self.ctx.check()
                yield value

    def _spawn(self, body: Callable[[], None], closing: _Closing | None) -> None:
        def run(_: Context) -> None:
            body()
            if closing is not None:
                closing.one_has_ended()

        self._group.spawn(run)

    def _output(self, name: str) -> Channel[Any]:
        channel: Channel[Any] = Channel(self._capacity)
        self._untaken[channel] = name
        return channel

    def _take(self, source: Channel[Any]) -> None:
        self._untaken.pop(source, None)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        if exc is not None:
            self._group.__exit__(kind, exc, trace)
            return
        left_early = False
        try:
            with self._group:
                if self._untaken:
                    names = ", ".join(self._untaken.values())
                    raise RuntimeError(f"nobody takes what these send: {names}; give each to a stage, a sink or results()")
                left_early = any(True for values in self._begun for _ in values)
                if left_early:
                    self._group.cancel()
        except LedgerdError:
            if not left_early or self._group.errors:
                raise


class _Closing:
    """Closes a channel when the last of its `senders` has ended well. (After an error nobody is to see an end.)"""

    def __init__(self, out: Channel[Any], senders: int) -> None:
        self._out = out
        self._senders = senders
        self._lock = Lock()

    def one_has_ended(self) -> None:
        with self._lock:
            self._senders -= 1
            last = self._senders == 0
        if last:
            self._out.close()


def _exhaust(values: Iterator[object]) -> None:
    for _ in values:
        pass


def _name(work: Callable[..., object]) -> str:
    return getattr(work, "__name__", type(work).__name__)
