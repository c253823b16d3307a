"""Many transfers at once: in chunks, each posted in one transaction, and each once for ever where it has a name.

While one chunk is at the database the next is encoded, and the one before is shown to the client: stages of a pipeline. A
process posts one chunk at a time, so bulk work takes one of its connections. Whatever else moves money takes turns with it at
the accounts: where somebody waited for the accounts of a chunk, the next one comes after a pause as long as the chunk took.
Without it a transfer of two accounts would wait for one chunk at the first, and for the next chunk at the second. Nobody waits
for an import as for an answer, so it also leaves the processor to single transfers, for twice as long as its chunks take.

What a caller may rely on:

- A refused transfer harms none of its chunk. A fault hits its chunk as a whole, and no later one is posted: what has taken
  effect is a beginning of all.
- When the answer to a chunk is lost, it is posted again until its outcome is known, if that is safe: if it has a name, or if
  each of its transfers has a key.
- Overloaded, Unavailable, DeadlineExceeded: nothing was posted. OutcomeUnknown: something was, or may have been; the same
  chunks under the same name tell, and go on.
- A chunk whose context ends is cancelled at the database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from service.concurrency.channel import Channel
from service.concurrency.context import Context, with_timeout
from service.concurrency.pipeline import Pipeline
from service.concurrency.primitives import Parking, monotonic
from service.concurrency.semaphore import Semaphore
from service.errors import ClientClosedRequest, Internal, LedgerdError, OutcomeUnknown, Unavailable
from service.ledger.posting import BACKOFF_S, AnswerLost, Contention
from service.ledger.transfers import Outcome, PostRequest

log = logging.getLogger(__name__)

MOST_IN_A_CHUNK = 250  # a transfer of one of its accounts waits for it: some ten milliseconds
LONGEST_PAUSE_S = 0.1  # after a chunk


@dataclass(frozen=True, slots=True)
class Once:
    """What makes a chunk happen once in its ledger: its place in the whole of this `name`, and the digest of that whole.

    `source` is where the name is from: an Idempotency-Key, or an import. `digest` is 32 bytes.
    """

    source: Literal["bulk", "import"]
    name: str
    chunk: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Transfers that are posted in one transaction, all of one ledger. `subject` is the caller's own."""

    ledger_id: int
    requests: Sequence[PostRequest]
    once: Once | None = None
    subject: Any = None

    @property
    def can_be_repeated(self) -> bool:
        """Whether to post it a second time has no second effect."""
        return self.once is not None or all(request.key is not None for request in self.requests)

    @property
    def is_of_an_import(self) -> bool:
        """Whether it is work for which nobody waits."""
        return self.once is not None and self.once.source == "import"


@dataclass(frozen=True, slots=True)
class PostedChunk:
    """An outcome for each request of a chunk, and whether somebody waited for its accounts when it was done with them."""

    outcomes: Sequence[Outcome]
    is_awaited: bool = False


class ChunkStore(Protocol):
    """What the repository does for chunks."""

    def encode(self, chunk: Chunk) -> Any:
        """What `post_chunk` takes."""
        ...

    def post_chunk(self, ctx: Context, chunk: Chunk, encoded: Any) -> PostedChunk:
        """Post the chunk in one transaction.

        Raises IdempotencyKeyReused when its name is spent for something else, AnswerLost when it was committed, or not. After
        any other error, such as Contention, Unavailable or DeadlineExceeded, nothing was done.
        """
        ...


class Bulk:
    """Posts chunks, one at a time in this process."""

    def __init__(
        self,
        store: ChunkStore,
        *,
        longest_s: float,
        do_others_post: Callable[[], bool] = lambda: False,
        on_chunk: Callable[[Sequence[Outcome]], object] = lambda _outcomes: None,
    ) -> None:
        self._store = store
        self._longest_s = longest_s  # of a chunk, with all attempts, where the context has no earlier end
        self._do_others_post = do_others_post
        self._on_chunk = on_chunk
        self._turn = Semaphore(1)
        self._pause_until = 0.0

    def post(self, ctx: Context, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, Sequence[Outcome]]]:
        """Each chunk in order with the outcomes of its requests, as soon as they are known; `chunks` is read ahead by two.

        Raises IdempotencyKeyReused, the module's errors, and what `chunks` raises.
        """
        with telling_what_was_done() as done, Pipeline(ctx, capacity=1, name="bulk") as line:
            yield from line.results(self.stages(line, line.generate(chunks), done))

    def stages(self, line: Pipeline, chunks: Channel[Chunk], done: Done) -> Channel[tuple[Chunk, Sequence[Outcome]]]:
        """The same as stages of another pipeline."""

        def encode(chunk: Chunk) -> tuple[Chunk, Any]:
            return chunk, self._store.encode(chunk)

        def post(encoded: tuple[Chunk, Any]) -> tuple[Chunk, Sequence[Outcome]]:
            outcomes = self._post(line.ctx, *encoded)
            done.count += len(outcomes)
            self._on_chunk(outcomes)
            return encoded[0], outcomes

        return line.stage(line.stage(chunks, encode), post)

    def _post(self, ctx: Context, chunk: Chunk, encoded: Any) -> Sequence[Outcome]:
        """Bring the chunk to its outcomes, or to an error."""
        if not chunk.requests and chunk.once is None:
            return []
        may_be_posted = False
        last: LedgerdError = Unavailable("The database is busy with conflicting work.", retry_after_s=1)
        with with_timeout(ctx, self._longest_s) as until, self._turn.held(until):
            for pause_s in (self._pause_until - monotonic(), *BACKOFF_S):
                if pause_s > 0:
                    until.park(Parking(), pause_s)
                began_at = monotonic()
                try:
                    posted = self._store.post_chunk(until, chunk, encoded)
                except Contention:
                    log.info("a chunk of %d met contention and is posted again", len(chunk.requests))
                except AnswerLost as error:
                    log.info("the answer to a chunk of %d was lost: %s", len(chunk.requests), error.__cause__)
                    may_be_posted = True
                    if not chunk.can_be_repeated:
                        break
                except LedgerdError as error:
                    last = error
                    if not may_be_posted or not error.retryable:
                        break
                else:
                    self._pause_until = monotonic() + self._pause_s(chunk, posted, monotonic() - began_at)
                    return posted.outcomes
                if until.error() is not None:
                    break
        if may_be_posted:
            raise OutcomeUnknown(_UNKNOWN)
        raise last

    def _pause_s(self, chunk: Chunk, posted: PostedChunk, took_s: float) -> float:
        """How long those who post single transfers have before the next chunk."""
        if chunk.is_of_an_import and (posted.is_awaited or self._do_others_post()):
            return min(2 * took_s, LONGEST_PAUSE_S)
        return min(took_s, LONGEST_PAUSE_S) if posted.is_awaited else 0.0


@dataclass(slots=True)
class Done:
    """How many transfers have got their outcome."""

    count: int = 0


@contextmanager
def telling_what_was_done() -> Iterator[Done]:
    """An error that says that nothing was done becomes OutcomeUnknown where something has been."""
    done = Done()
    try:
        yield done
    except ClientClosedRequest:
        raise
    except LedgerdError as error:
        if done.count and (error.retryable or isinstance(error, Internal)):
            if isinstance(error, Internal):
                log.exception("after %d transfers of many a fault ended them", done.count)
            raise OutcomeUnknown(_UNKNOWN) from error
        raise


_UNKNOWN = "A part of it was posted, or may have been; the same again under the same key or name tells, and does the rest."
