"""Group commit: requests that wait at the same time are posted in one transaction, and each gets its own outcome.

A handler calls `post`: its request goes on a bounded channel, and the handler waits. A lane takes the first request, adds all
that wait already (no artificial delay: while one batch is at the database, the next one gathers), and hands them to the
store in one round trip. So a lone request costs one plain transaction, and a thousand cost hardly more commits than one.

What a caller may rely on:

- A refused request harms none of its batch. A fault that one request causes hits that request alone, or those that were
  handed in together with it: these are never split over two batches.
- Many may wait while their turn comes soon: under too much load it is better to be late than to refuse, which costs nearly as
  much as the work. Where it does not come soon, as with a database that does not answer, fewer may.
- Overloaded, Unavailable, DeadlineExceeded: nothing was posted. OutcomeUnknown: it may have been; the same key tells.
- When the answer to a batch is lost, requests with a key are posted again (the key makes that safe) until their outcome is
  known; those without one get OutcomeUnknown.
- A batch ends with the last deadline in it: it is cancelled at the database, and not tried again. So nothing is posted long
  after nobody waits for it, and a database that does not answer holds the lane no longer than that. A client that leaves
  takes back only what waits still; what is in a batch is its neighbours' too.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from service.concurrency.channel import Channel, ChannelClosed, ChannelStatistics, WouldBlock
from service.concurrency.context import Context, background, with_timeout
from service.concurrency.primitives import Parking, monotonic
from service.concurrency.promise import Promise
from service.errors import DeadlineExceeded, Internal, LedgerdError, OutcomeUnknown, Overloaded, Unavailable
from service.ledger.transfers import Outcome, PostRequest

log = logging.getLogger(__name__)

MOST_IN_A_BATCH = 512
MOST_WHEN_SLOW = 1024  # that wait, where the lane does not come to them
SOON_S = 3.0
RECENT_S = 0.2  # where single transfers are further apart, bulk work makes no pauses for them
BACKOFF_S = (0.01, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # pauses before each further attempt at a batch


class Contention(Exception):
    """The database gave the batch up in favour of another (deadlock, serialization, a key in the making); nothing was done."""


class AnswerLost(Exception):
    """The connection broke while the batch was under way, or the answer cannot be read: it was committed, or not."""


class BatchStore(Protocol):
    """What the repository does for posting."""

    def post_batch(self, ctx: Context, requests: Sequence[PostRequest]) -> Sequence[Outcome]:
        """Post `requests` in order in one transaction; an outcome for each.

        Raises AnswerLost when it was committed, or not. After any other error, such as Contention, Unavailable or
        DeadlineExceeded, nothing was done.
        """
        ...


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What a lane did at once: how long each of `requests` waited for it, when it began, and how long it took (s)."""

    requests: Sequence[PostRequest]
    waited_s: Sequence[float]
    began_at: float
    took_s: float


@dataclass(slots=True, eq=False)
class _Job:
    """Requests that are posted together."""

    ctx: Context
    requests: Sequence[PostRequest]
    since: float
    promise: Promise[Sequence[Outcome]] = field(default_factory=Promise)
    may_be_posted: bool = False

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be posted again to learn what became of it."""
        return all(request.key is not None or request.dry_run for request in self.requests)


class Posting:
    """The channel of waiting requests, and the lane that empties it."""

    def __init__(
        self,
        store: BatchStore,
        *,
        capacity: int,
        longest_s: float,
        most_when_slow: int = MOST_WHEN_SLOW,
        soon_s: float = SOON_S,
        on_batch: Callable[[BatchReport], None] = lambda _batch: None,
    ) -> None:
        self._store = store
        self._on_batch = on_batch
        self._longest_s = longest_s  # of a batch, with all attempts, where a request has no earlier deadline
        self._waiting: Channel[_Job] = Channel(capacity)
        self._most_when_slow = min(most_when_slow, capacity)
        self._soon_s = soon_s
        self._taken_at = monotonic()  # when the lane last took some that waited
        self._oldest_waited_s = 0.0  # how long the first of them had

    def post(self, ctx: Context, request: PostRequest) -> Outcome:
        """Post `request` and wait for its outcome; the errors are the module's."""
        return self.post_group(ctx, (request,))[0]

    def post_group(self, ctx: Context, requests: Sequence[PostRequest]) -> Sequence[Outcome]:
        """Post `requests`, MOST_IN_A_BATCH at most, in one batch, and wait for their outcomes; the errors are the module's.

        Each has an outcome of its own, unless `link` has made them stand and fall together.
        """
        if len(requests) > MOST_IN_A_BATCH:
            raise ValueError(f"{len(requests)} requests are more than a batch has: {MOST_IN_A_BATCH}")
        ctx.check()
        self.check_room()
        job = _Job(ctx, requests, monotonic())
        try:
            self._waiting.send_nowait(job)
        except WouldBlock:
            raise _overloaded() from None
        except ChannelClosed:
            raise Unavailable("The service is stopping.", retry_after_s=1) from None
        if job.promise.wait(ctx):
            return job.promise.result()
        if job.promise.withdraw():
            ctx.check()
        raise _unknown()

    def run_lane(self, ctx: Context) -> None:
        """Post batch after batch until `close`, and then what waits still. The body of a background task.

        It is not `ctx` that ends it: whatever was taken in gets its outcome.
        """
        while True:
            try:
                taken = self._waiting.receive_batch(background(), MOST_IN_A_BATCH)
            except ChannelClosed:
                return
            self._taken_at = monotonic()
            self._oldest_waited_s = self._taken_at - taken[0].since
            for batch in _batches(taken):
                if wanted := [job for job in batch if _still_wanted(job)]:
                    began_at = monotonic()
                    self._settle(wanted)
                    waited_s = [began_at - job.since for job in wanted for _ in job.requests]
                    self._on_batch(BatchReport(_requests(wanted), waited_s, began_at, monotonic() - began_at))

    def statistics(self) -> ChannelStatistics:
        """How many requests wait, and how many may."""
        return self._waiting.statistics()

    def check_room(self) -> None:
        """Raise Overloaded where `post` would, for want of room."""
        depth = self._waiting.depth
        if depth >= self._most_when_slow and (depth >= self._waiting.capacity or not self._comes_soon()):
            raise _overloaded()

    def _comes_soon(self) -> bool:
        """Whether the lane took the last ones after `soon_s` at most, and no longer ago than that."""
        return self._oldest_waited_s <= self._soon_s and monotonic() - self._taken_at <= self._soon_s

    def is_in_use(self) -> bool:
        """Whether requests wait, or the lane took some less than RECENT_S ago."""
        return self._waiting.depth > 0 or monotonic() - self._taken_at < RECENT_S

    def close(self) -> None:
        """Take no further requests; the lane ends when those that wait are posted. A second time does nothing."""
        with contextlib.suppress(ChannelClosed):
            self._waiting.close()

    def _settle(self, jobs: list[_Job]) -> None:
        """Bring every job to an outcome or an error, whatever happens to the database meanwhile."""
        last: LedgerdError = Unavailable("The database is busy with conflicting work.", retry_after_s=1)
        with with_timeout(background(), self._remaining_s(jobs)) as ctx:
            for pause_s in (0.0, *BACKOFF_S):
                if pause_s:
                    ctx.park(Parking(), pause_s)
                try:
                    outcomes = self._store.post_batch(ctx, _requests(jobs))
                except Contention:
                    log.info("a batch of %d met contention and is posted again", len(jobs))
                except AnswerLost as error:
                    log.info("the answer to a batch of %d was lost: %s", len(jobs), error.__cause__)
                    jobs = _resolvable(jobs)
                except (Unavailable, DeadlineExceeded) as error:
                    last = error
                    jobs = _fail_untouched(jobs, error)
                except Exception:
                    log.exception("a batch of %d failed", len(jobs))
                    self._settle_singly(jobs)
                    return
                else:
                    _keep(jobs, outcomes)
                    return
                if not jobs or ctx.error() is not None:
                    break
        for job in jobs:
            job.promise.fail(_unknown() if job.may_be_posted else last)

    def _remaining_s(self, jobs: list[_Job]) -> float:
        """How long somebody waits for one of `jobs`, and at most the longest that a batch may take."""
        remaining = [job.ctx.remaining() for job in jobs]
        return max(self._longest_s if s is None else min(s, self._longest_s) for s in remaining)

    def _settle_singly(self, jobs: list[_Job]) -> None:
        """The batch failed in a way that no rule foresees: let the request that causes it fail alone."""
        if len(jobs) == 1:
            jobs[0].promise.fail(_unknown() if jobs[0].may_be_posted else Internal("The transfer could not be posted."))
            return
        for job in jobs:
            self._settle([job])


def _batches(jobs: list[_Job]) -> Iterator[list[_Job]]:
    """`jobs` in order, cut such that no part has more requests than a batch."""
    batch: list[_Job] = []
    size = 0
    for job in jobs:
        size += len(job.requests)
        if size > MOST_IN_A_BATCH and batch:
            yield batch
            batch, size = [], len(job.requests)
        batch.append(job)
    yield batch


def _requests(jobs: list[_Job]) -> list[PostRequest]:
    return [request for job in jobs for request in job.requests]


def _keep(jobs: list[_Job], outcomes: Sequence[Outcome]) -> None:
    """Give each job its part of `outcomes`."""
    assert len(outcomes) == sum(len(job.requests) for job in jobs), "an outcome for each request"
    begin = 0
    for job in jobs:
        end = begin + len(job.requests)
        job.promise.keep(outcomes[begin:end])
        begin = end


def _still_wanted(job: _Job) -> bool:
    if not job.promise.claim():
        return False
    if job.ctx.error() is not None:
        job.promise.fail(DeadlineExceeded("The request's time passed while it waited; nothing was posted."))
        return False
    return True


def _resolvable(jobs: list[_Job]) -> list[_Job]:
    """After a lost connection: the jobs that can learn their outcome by their key; the others are told that it is unknown."""
    for job in jobs:
        job.may_be_posted = True
        if not job.is_repeatable:
            job.promise.fail(_unknown())
    return [job for job in jobs if job.is_repeatable]


def _fail_untouched(jobs: list[_Job], error: LedgerdError) -> list[_Job]:
    """Nothing was done in this attempt: only what an earlier attempt may have posted is worth another."""
    for job in jobs:
        if not job.may_be_posted:
            job.promise.fail(error)
    return [job for job in jobs if job.may_be_posted]


def _overloaded() -> Overloaded:
    return Overloaded("Too many transfers are waiting to be posted.", retry_after_s=1)


def _unknown() -> OutcomeUnknown:
    return OutcomeUnknown("The transfer may have been posted, or not; repeat it with the same Idempotency-Key to learn which.")
