"""What others change, as PostgreSQL tells it: a connection of its own that listens, with proof that it still hears.

A cache that is emptied by notifications is only as good as their arrival, and a connection may look alive that hears nothing:
a network that swallows packets, a server that is not the primary any more, a pooler that hands statements to any connection.
So a beat is sent every BEAT_EVERY_S seconds, and its arrival is a proof: PostgreSQL delivers notifications in the order of
commits (its documentation of NOTIFY), so whatever was committed before the beat was sent has been told before the beat comes.
`proved_within` says how long ago the last beat that has come was sent.

Beats are sent by the pool, not by the connection that listens. A connection hears itself where it hears nobody else: behind a
pooler in transaction mode, or on the old side of a fail-over. This way no beat comes, nothing is proved, and whoever keeps
something asks the database again instead.

`on_lost` is called whenever something may have been missed: when a connection is lost, and when one begins to listen.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from service.concurrency.context import Context, with_timeout
from service.concurrency.primitives import Lock, Parking, monotonic
from service.errors import LedgerdError
from service.repository.connect import PromptConnection, shut, with_defaults
from service.repository.pool import Pool
from service.repository.queries import Queries

log = logging.getLogger(__name__)

BEAT_EVERY_S = 0.3
BEAT_TIMEOUT_S = 1.0
DEAF_AFTER_S = 2.0  # a beat that was sent has not come for so long
SET_UP_TIMEOUT_S = 2  # for connecting (in whole seconds), and then for LISTEN
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Listener:
    """See the module. Register with `on` and `on_lost` before `run`."""

    def __init__(self, conninfo: str, pool: Pool, queries: Queries) -> None:
        self._conninfo = make_conninfo(
            with_defaults(conninfo), application_name="ledgerd listener", connect_timeout=SET_UP_TIMEOUT_S
        )
        self._pool = pool
        self._send_beat = queries.take("send_beat")
        self._beat_channel = f"ledgerd_beat_{secrets.token_hex(8)}"
        self._beats = 0
        self._channels: dict[str, Callable[[str], None]] = {}
        self._on_lost: list[Callable[[], None]] = []
        self._proved_at = -inf
        self._complained = False

    def on(self, channel: str, callback: Callable[[str], None]) -> None:
        """Have `callback` called with the payload of each notification on `channel`. It must not wait for the database."""
        self._channels[channel] = callback

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever notifications may have been missed."""
        self._on_lost.append(callback)

    def proved_within(self, seconds: float) -> bool:
        """Whether everything has been told that was committed up to `seconds` ago."""
        return monotonic() - self._proved_at < seconds

    def run(self, ctx: Context) -> None:
        """As a background task: listen until `ctx` ends, and connect again as often as that takes."""
        pause_s = FIRST_PAUSE_S
        while ctx.error() is None:
            proved = False
            try:
                with self._connection(ctx) as conn:
                    self._listen(ctx, conn)
            except (psycopg.Error, _Deaf) as error:
                proved = self._proved_at > -inf
                if ctx.error() is None:
                    self._complain(error)
            finally:
                self._lose()
            pause_s = FIRST_PAUSE_S if proved else min(pause_s * 2, LONGEST_PAUSE_S)
            ctx.park(Parking(), pause_s)

    @contextmanager
    def _connection(self, ctx: Context) -> Iterator[PromptConnection]:
        """A connection that breaks as soon as `ctx` ends, so that whoever waits with it ends too."""
        conn = PromptConnection.connect(self._conninfo, autocommit=True)
        lock = Lock()

        def cut() -> None:
            with lock:
                if not conn.closed:
                    shut(conn)

        forget = ctx.on_done(cut)
        try:
            with with_timeout(ctx, SET_UP_TIMEOUT_S) as setting_up:
                forget_too = setting_up.on_done(cut)
                try:
                    for channel in (*self._channels, self._beat_channel):
                        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
                finally:
                    forget_too()
            yield conn
        finally:
            forget()
            with lock:
                conn.close()

    def _listen(self, ctx: Context, conn: PromptConnection) -> None:
        self._lose()  # what was committed before LISTEN was not told
        sent: dict[str, float] = {}
        while ctx.error() is None:
            self._beats += 1
            sent_at = monotonic()
            if self._beat(ctx, str(self._beats)):
                sent[str(self._beats)] = sent_at
            for told in conn.notifies(timeout=BEAT_EVERY_S):
                if told.channel != self._beat_channel:
                    self._channels[told.channel](told.payload)
                elif told.payload in sent:
                    self._prove(sent.pop(told.payload))
            if sent and monotonic() - min(sent.values()) > DEAF_AFTER_S:
                raise _Deaf(f"none has come for {DEAF_AFTER_S} s (a pooler in transaction mode?)")

    def _beat(self, ctx: Context, payload: str) -> bool:
        """Whether it was sent for certain. When the database is out of reach, this fails, and so does the proof."""
        try:
            with with_timeout(ctx, BEAT_TIMEOUT_S) as bounded, self._pool.connection(bounded) as conn:
                conn.execute(self._send_beat, {"channel": self._beat_channel, "payload": payload}, prepare=True)
        except LedgerdError:
            return False
        return True

    def _prove(self, sent_at: float) -> None:
        self._proved_at = max(self._proved_at, sent_at)
        if self._complained:
            self._complained = False
            log.info("notifications of the database arrive again")

    def _lose(self) -> None:
        self._proved_at = -inf
        for callback in self._on_lost:
            callback()

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            reason = " ".join(str(error).split())
            log.warning("no notifications of the database: %s; until they arrive, it is asked again each second", reason)


class _Deaf(Exception):
    """The connection looks alive, and does not deliver."""
