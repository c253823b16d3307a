"""The dispatcher: reads the log of events for each webhook that it has a lease on, and has workers deliver them.

One task decides everything and is the only one to touch outboxes and leases; workers make attempts and hand back what became
of them. Several dispatchers may run on one database: each webhook is one's alone, and the others take over what a dead one had
when its lease ends. One that was only held up, and comes back late, finds a greater token in the database: nothing that it
writes counts.

Everything is bounded: attempts at once in all and for each target (`gates`), events in memory for each webhook (`outbox`) and
in all, and rows in the database: a webhook that takes nothing has at most MOST_OUTSTANDING waiting, and the log is read no
further for it. The log itself keeps the rest, for as long as it takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.concurrency.channel import Channel
from service.concurrency.clock import SYSTEM_CLOCK, Clock
from service.concurrency.context import Context, background, with_cancel, with_timeout
from service.concurrency.pool import WorkerPool
from service.errors import LedgerdError
from service.events.attempt import Attempted, Attempts, Receiver
from service.events.dispatching import DispatchStore, Key, Lease, Written
from service.events.event import Event
from service.events.gates import SUSPECT, Gate, Gates
from service.events.held import Held, Pace, Told, fill
from service.events.log import EventStore
from service.events.outbox import Entry, Outbox

log = logging.getLogger(__name__)

MOST_FRESH = 200  # events of a webhook in memory that have no row; of a target that fails, a few
FRESH_OF_SUSPECTS = 16
MOST_OUTSTANDING = 5_000  # of a webhook, in rows and in memory
MOST_IN_ALL = 100_000  # outstanding events in memory
MOST_WEBHOOKS = 5_000  # of one dispatcher
MOST_DEAD = 10_000  # of a webhook
KEEP_DEAD_S = 30 * 86_400.0
PAGE = 200
CLAIMED_AT_ONCE = 200  # each takes some queries, during which nothing else goes on
LOOK_EVERY_S = 1.0  # for changed, new and abandoned webhooks
WRITE_EVERY_S = 0.2
PRUNE_EVERY_S = 60.0
POLL_S = 0.1  # so often the database is asked how far the log is settled, where nothing happens
BUSY_POLL_S = 0.02  # and for CALM_AFTER_S after an event was read
CALM_AFTER_S = 1.0
ROUND_TIMEOUT_S = 20.0
PAUSE_S = 0.5  # while the database cannot be asked


@dataclass(frozen=True, slots=True)
class _Result:
    """What a worker hands back."""

    held: Held
    gate: Gate
    was_suspect: bool
    attempted: Attempted


class Dispatcher:
    """See the module. `run` it as a background task; `told` may be read by anybody."""

    def __init__(
        self, *, store: DispatchStore, events: EventStore, attempts: Attempts, pace: Pace, clock: Clock = SYSTEM_CLOCK,
        drain_s: float = 15.0,
    ) -> None:
        self._store = store
        self._events = events
        self._attempts = attempts
        self._pace = pace
        self._clock = clock
        self._drain_s = drain_s
        self._gates = Gates(workers=pace.workers, most_each=pace.each_target, open_s=pace.open_s, clock=clock)
        self._held: dict[Key, Held] = {}
        self._results: Channel[_Result] = Channel(pace.workers)
        self._busy = 0  # workers
        self._settled = 0
        self._busy_until = self._advance_at = self._look_at = self._renew_at = self._write_at = self._prune_at = 0.0
        self._complained = False
        self.told = Told()
        self.on_attempt: Callable[[Attempted], None] = lambda _: None
        self.turns = 0  # grows for as long as it does not hang

    def run(self, ctx: Context) -> None:
        """Dispatch until `ctx` ends; then let the attempts under way end, write what they came to, and release the leases."""
        self._held, self._busy, self._results = {}, 0, Channel(self._pace.workers)  # after a fault it begins anew
        self._look_at = 0.0
        with with_cancel(background(self._clock)) as work:
            pool = WorkerPool(work, workers=self._pace.workers, capacity=self._pace.workers, name="webhook")
            try:
                while ctx.error() is None:
                    self._turn(ctx, pool)
                self._drain()
            finally:
                pool.cancel()
                pool.close()

    def _turn(self, ctx: Context, pool: WorkerPool) -> None:
        goes_on = False
        self.turns += 1
        try:
            with with_timeout(ctx, ROUND_TIMEOUT_S) as bounded:
                self._keep_leases(bounded)
                self._write(bounded)
                goes_on = self._read(bounded)
            self._complain(None)
        except LedgerdError as error:
            if ctx.error() is not None:
                return
            self._complain(error)
            self._collect(ctx, PAUSE_S)
        self._start(pool)
        self._tell()
        self._collect(ctx, 0.0 if goes_on and self._busy < self._pace.workers else self._pause())

    def _keep_leases(self, ctx: Context) -> None:
        """Renew, hear of changes, let go what is another's, and take what is nobody's: about once a second."""
        now = self._clock.now()
        if now < self._look_at:
            return
        leases = [held.lease for held in self._held.values()]
        renews = now >= self._renew_at
        revisions = self._store.look(ctx, leases, renew_for_s=self._pace.lease_s if renews else None)
        for key, held in list(self._held.items()):
            if key not in revisions:
                self._leave(ctx, held)
                continue
            held.leaving = held.gone  # enabled again before it was forgotten
            if renews:
                held.until = now + self._pace.lease_s
            if revisions[key] != held.claimed.revision:
                self._reload(ctx, held)
        if renews:
            self._renew_at = now + self._pace.lease_s / 3
        room = MOST_WEBHOOKS - len(self._held)
        if room > 0 and self.told.outstanding < MOST_IN_ALL:
            for lease in self._store.claim(ctx, lease_s=self._pace.lease_s, limit=min(room, CLAIMED_AT_ONCE)):
                self._take_up(ctx, lease, now)
        if now >= self._prune_at and self._held:
            self._prune_at = now + PRUNE_EVERY_S
            self._store.prune(ctx, [held.lease for held in self._held.values()], keep_s=KEEP_DEAD_S, most=MOST_DEAD)
        self._look_at = now + LOOK_EVERY_S

    def _take_up(self, ctx: Context, lease: Lease, now: float) -> None:
        claimed = self._store.find_claimed(ctx, lease)
        if claimed is None:
            return
        outbox = Outbox(claimed.cursor, MOST_FRESH, MOST_OUTSTANDING)
        outbox.skipped.update(self._store.list_dead_after(ctx, lease.key, claimed.cursor))
        outbox.load(self._store.list_outstanding(ctx, lease.key, now=now))
        receiver = Receiver.of(claimed, now)
        gate = self._gates.of(receiver.label)
        if outbox.most_attempts >= SUSPECT:
            gate.expect_failure()
        self._held[lease.key] = Held(lease, claimed, receiver, outbox, gate, now + self._pace.lease_s)

    def _reload(self, ctx: Context, held: Held) -> None:
        claimed = self._store.find_claimed(ctx, held.lease)
        if claimed is None:  # just now; the next look tells
            return
        now = self._clock.now()
        is_elsewhere = claimed.url != held.claimed.url
        held.outbox.load(self._store.list_outstanding(ctx, held.lease.key, now=now))
        held.claimed, held.receiver = claimed, Receiver.of(claimed, now)
        held.gate = self._gates.of(held.receiver.label)
        if is_elsewhere:
            held.outbox.hurry(now)

    def _leave(self, ctx: Context, held: Held) -> None:
        """It was disabled or removed, or is another's: begin nothing, write what may still be written, and forget it."""
        held.leaving = True
        if held.outbox.in_flight and held.until > self._clock.now():
            return
        self._write_of(ctx, [held])
        self._store.release(ctx, [held.lease])
        self._held.pop(held.lease.key, None)

    def _write(self, ctx: Context) -> None:
        now = self._clock.now()
        if now >= self._write_at:
            self._write_of(ctx, list(self._held.values()))
            self._write_at = self._clock.now() + WRITE_EVERY_S

    def _write_of(self, ctx: Context, helds: Sequence[Held]) -> None:
        now = self._clock.now()
        written = [
            (held, Written(held.lease, progress, held.gone))
            for held in helds if (progress := held.outbox.progress(now)) is not None
        ]
        if not written:
            return
        try:
            mine = self._store.write(ctx, [each for _, each in written])
        except LedgerdError:
            for held, each in written:
                held.outbox.perhaps_wrote(each.progress)
            raise
        for held, each in written:
            if held.lease.key not in mine:  # another has taken it over
                self._held.pop(held.lease.key, None)
                held.leaving = True
                continue
            held.gone = False
            for event_id in held.outbox.wrote(each.progress):
                self.told.dead += 1
                log.warning("webhook %d: event %d was given up", held.lease.webhook_id, event_id)

    def _read(self, ctx: Context) -> bool:
        """Give each webhook that has room the next page of its log; whether there is more to read at once."""
        now = self._clock.now()
        if self._held and now >= self._advance_at:
            self._settled = self._events.advance(ctx)
            self._advance_at = now + self._poll_s(now)
        room_in_all = MOST_IN_ALL - sum(len(held.outbox) for held in self._held.values())
        pages: dict[tuple[int, int], Sequence[Event]] = {}
        goes_on = False
        for held in self._held.values():
            outbox, ledger_id = held.outbox, held.lease.ledger_id
            room = min(outbox.room(FRESH_OF_SUSPECTS if held.gate.is_suspect else None), room_in_all)
            if held.leaving or room <= 0 or outbox.read_to >= self._settled:
                continue
            where = ledger_id, outbox.read_to
            if where not in pages:
                pages[where] = self._events.read(
                    ctx, ledger_id, after=outbox.read_to, until=self._settled, limit=PAGE
                )
            page = pages[where]
            taken = fill(held, page, room, now)
            room_in_all -= taken
            self._busy_until = now + CALM_AFTER_S if taken else self._busy_until
            if taken < room and len(page) < PAGE:
                outbox.read_past(self._settled)
            else:
                goes_on = True
        return goes_on

    def _start(self, pool: WorkerPool) -> None:
        """Give workers what is ready, one of each webhook in turn, for as long as there are workers and room at targets."""
        now = self._clock.now()
        waiting = [held for held in self._held.values() if not held.leaving and now < held.until]
        served: dict[Key, Held] = {}
        while waiting and self._busy < self._pace.workers:
            again = []
            for held in waiting:
                if self._busy >= self._pace.workers:
                    break
                if not held.outbox.may_be_ready(now) or not self._gates.has_room(held.gate):
                    continue
                entry = held.outbox.take_ready(now)
                if entry is not None:
                    self._begin(pool, held, entry)
                    again.append(held)
                    served[held.lease.key] = held
            waiting = again
        for key in served:  # next time the others come first
            self._held[key] = self._held.pop(key)

    def _begin(self, pool: WorkerPool, held: Held, entry: Entry) -> None:
        self._busy += 1
        gate, receiver = held.gate, held.receiver
        was_suspect = self._gates.enter(gate)

        def attempt(ctx: Context) -> None:
            attempted = Attempted(entry.event_id, "failed", "it could not be sent")
            try:
                attempted = self._attempts.make(ctx, receiver, gate, entry)
            except Exception:
                log.exception("webhook %d: an attempt failed in a way that was not foreseen", receiver.webhook_id)
            finally:
                self._results.send_nowait(_Result(held, gate, was_suspect, attempted))

        pool.submit_nowait(attempt)

    def _collect(self, ctx: Context, timeout_s: float) -> None:
        """Wait for what has become of attempts, up to `timeout_s`, and note it."""
        try:
            results = self._results.receive_batch(ctx, self._pace.workers, timeout_s)
        except (TimeoutError, LedgerdError):  # nothing came, or the end has come
            return
        for result in results:
            self._busy -= 1
            self._gates.leave(result.gate, result.was_suspect)
            self._note(result.held, result.attempted)

    def _note(self, held: Held, attempted: Attempted) -> None:
        outbox, now = held.outbox, self._clock.now()
        if attempted.outcome == "delivered":
            self.told.delivered += 1
            outbox.delivered(attempted.event_id)
        elif attempted.outcome == "postponed":
            outbox.postponed(attempted.event_id, until=now + attempted.wait_s)
        else:
            self.told.failed += 1
            if attempted.outcome == "gone":
                held.gone = held.leaving = True
                log.warning("webhook %d is disabled: its receiver has answered 410", held.lease.webhook_id)
            attempts = outbox.attempts_of(attempted.event_id) + 1
            wait_s = self._pace.base_s if held.gone else self._pace.wait_s(attempts, attempted.wait_s)
            outbox.failed(attempted.event_id, attempted.problem, now=now, wait_s=wait_s)
            if held.gate.is_suspect:
                outbox.drop_bodies()
            log.info(
                "webhook %d: attempt %d at event %d failed: %s", held.lease.webhook_id, attempts, attempted.event_id,
                attempted.problem,
            )
        self.on_attempt(attempted)

    def _pause(self) -> float:
        """How long to wait for results: until something is due, or read or written again."""
        now = self._clock.now()
        if not self._held:
            return max(self._look_at - now, 0.001)
        dues = [due for held in self._held.values() if (due := held.outbox.next_due()) is not None and due > now]
        return max(min([now + self._poll_s(now), *dues]) - now, 0.001)

    def _poll_s(self, now: float) -> float:
        return BUSY_POLL_S if now < self._busy_until else POLL_S

    def _drain(self) -> None:
        """The attempts under way have `drain_s` to end; what became of them is written, and others may go on at once."""
        end = self._clock.now() + self._drain_s
        with with_timeout(background(self._clock), self._drain_s + ROUND_TIMEOUT_S) as ctx:
            while self._busy and self._clock.now() < end:
                self._collect(ctx, max(end - self._clock.now(), 0.001))
            try:
                self._write_of(ctx, list(self._held.values()))
                self._store.release(ctx, [held.lease for held in self._held.values()])
            except LedgerdError as error:
                log.warning("the leases on webhooks end by themselves: %s", error.message)

    def _tell(self) -> None:
        told, now = self.told, self._clock.now()
        told.webhooks = len(self._held)
        told.outstanding = sum(len(held.outbox) for held in self._held.values())
        told.in_flight = self._busy
        told.oldest_s = max((now - held.outbox.since for held in self._held.values() if held.outbox), default=0.0)
        told.breakers = self._gates.states()

    def _complain(self, error: LedgerdError | None) -> None:
        if error is not None and not self._complained:
            log.warning("no webhooks are delivered, for now: %s", error.message)
        elif error is None and self._complained:
            log.info("webhooks are delivered again")
        self._complained = error is not None
