"""What can be told to be counted, where nothing is counted: the interface of Metrics, and all of LEDGERD_METRICS=off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol
from wsgiref.types import WSGIEnvironment

from service.concurrency.breaker import Breaker
from service.concurrency.context import Context
from service.concurrency.spawn import TaskStatus
from service.events.event import Event
from service.events.subscription import Ending
from service.ledger.posting import BatchReport
from service.ledger.transfers import Outcome, Post, PostGroup


class Queue(Protocol):
    """What the posting queue tells of itself."""

    @property
    def buffered(self) -> int: ...
    @property
    def capacity(self) -> int: ...


class Lagging(Protocol):
    """What a replica tells of itself; infinite where it is not known."""

    @property
    def lag_s(self) -> float: ...


class Hedged(Protocol):
    """How many reads replicas were asked for, and how many of these were hedged, since the process began."""

    @property
    def reads(self) -> int: ...
    @property
    def hedges(self) -> int: ...


class Fed(Protocol):
    """What the live feed of events tells of itself: who listens, what it has sent, how many it let go and why, its lag."""

    @property
    def clients(self) -> int: ...
    @property
    def lag_s(self) -> float: ...
    @property
    def sent(self) -> int: ...
    @property
    def ended(self) -> Mapping[Ending, int]: ...


class NoMetrics:
    """Whoever tells something is not heard."""

    on = False

    def request_began(self) -> None:
        """A request came in."""

    def request_ended(self, environ: WSGIEnvironment, status: int, duration_s: float, sent: int) -> None:
        """See middleware.observation."""

    def counting(self, post: Post) -> Post:
        """`post`, with the outcome of each transfer counted."""
        return post

    def counting_room(self, check_room: Callable[[], None]) -> Callable[[], None]:
        """`check_room`, each time that there is none counted as a transfer that failed."""
        return check_room

    def chunk_posted(self, outcomes: Sequence[Outcome]) -> None:
        """Many transfers were posted at once."""

    def counting_group(self, post_group: PostGroup) -> PostGroup:
        """The same of several that are posted together."""
        return post_group

    def holds_expired(self, number: int) -> None:
        """So many holds were given back when their time had come."""

    def batch_ended(self, batch: BatchReport) -> None:
        """A posting lane is done with a batch."""

    def cache_lookup(self, cache: str) -> Callable[[bool], None]:
        """What to call with whether a lookup in the cache of that name was a hit."""
        return lambda _was_hit: None

    def limiter_refused(self, kind: str) -> None:
        """A limiter has refused a request; `kind` is one of the limiter's own names."""

    def watch_queue(self, statistics: Callable[[], Queue]) -> None:
        """Read the posting queue's fill from `statistics`."""

    def watch_pool(self, server: str, statistics: Callable[[], Mapping[str, int]]) -> None:
        """Read the counters of the connection pool to `server`, by psycopg_pool's names, from `statistics`."""

    def watch_replica(self, server: str, replica: Lagging) -> None:
        """Read how far a replica is behind."""

    def event_told(self, event: Event, listeners: int) -> None:
        """The live feed tells so many listeners of an event, the last of a batch."""

    def watch_feed(self, feed: Fed) -> None:
        """Read what the live feed tells of itself."""

    def watch_hedging(self, hedging: Hedged) -> None:
        """Read how many reads of replicas there were, and how many hedges."""

    def watch_breaker(self, name: str, breaker: Breaker) -> None:
        """Read the state of `breaker`; several of one name are counted together."""

    def watch_tasks(self, statuses: Callable[[], Iterable[TaskStatus]]) -> None:
        """Read from `statuses` how often background tasks were started again."""

    def watch_sealing(self, unsealed_age_s: Callable[[], float]) -> None:
        """Read how old the oldest transfer without a seal is."""

    def watch_dropped_lines(self, dropped: Callable[[], int]) -> None:
        """Read the number of log lines that could not be written."""

    def refresh(self) -> None:
        """Write what was counted, and read what is watched."""

    def run(self, ctx: Context) -> None:
        """Refresh about once a second: the body of a background task."""

    def render(self) -> bytes:
        """All of it, of all workers, in Prometheus' text format. Raises LookupError while metrics are off."""
        raise LookupError("metrics are off")
