"""A WebSocket that tells of events: who may send when, what a client may say, and how it ends.

Two tasks share the line. One tells: it takes what the feed has, sends it, and asks now and then whether the client is there.
The other hears what the client sends, answers its pings, and says when the client breaks the rules or closes. Whoever sends
holds a lock and sends whole frames, however slowly the client reads; meanwhile nothing more is heard of it, so what it sends
waits at its own end.

Frames are the same for all clients, so those of a batch are made once (`frames`). Messages of a client mean nothing here, and
are passed over as long as they are few and small. Close codes: docs/api.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.events import Event as Frame

from service.api.calls import to_json
from service.api.listening import REASONS, Place
from service.api.representation import show_event
from service.concurrency.context import Context, background, with_cancel
from service.concurrency.group import Group
from service.concurrency.primitives import Lock, monotonic
from service.errors import ClientClosedRequest
from service.events.batch import show_all
from service.events.event import Event
from service.events.subscription import Ended, Ending
from service.middleware.environ import TAKE_OVER

MOST_MESSAGE = 64 * 1024  # bytes
MOST_HEARD = 256 * 1024  # bytes that a client may send between two heartbeats
LEAST_COUNTED = 1024  # bytes that each frame counts for at least
MOST_PASSED_OVER = 128 * 2**20  # bytes after a close, within CLOSE_S
CLOSE_S = 2.0  # a client has so long to answer a close
NORMAL, GOING_AWAY, INTERNAL, POLICY, TOO_BIG = 1000, 1001, 1011, 1008, 1009
CODES = {Ending.SLOW: 1013, Ending.DRAINING: GOING_AWAY, Ending.KEY: POLICY, Ending.RESET: 1012, Ending.COMPLETE: NORMAL}


class Line(Protocol):
    """What the server gives for an upgraded connection."""

    def receive(self) -> bytes:
        """What the client has sent, nothing at its end. Raises OSError."""
        ...

    def sendall(self, data: bytes) -> None:
        """Send all of it. Raises OSError."""
        ...

    def end_input(self) -> None:
        """Whoever waits in `receive` finds the end; for good."""
        ...


class Conversation:
    """The body of the answer that upgrades; the server closes it, whatever became of it."""

    def __init__(self, place: Place, heartbeat_s: float) -> None:
        self._place = place
        self._heartbeat_s = heartbeat_s
        self._talk: _Talk | None = None

    def __iter__(self) -> Iterator[bytes]:
        yield b""  # the head of the answer is sent
        line: Line = self._place.environ[TAKE_OVER]()
        self._place.begin()
        self._talk = _Talk(self._place, line, self._heartbeat_s)
        self._talk.run()

    @property
    def sent(self) -> int:
        """How many bytes were sent after the head."""
        return 0 if self._talk is None else self._talk.sent

    def close(self) -> None:
        """Give up the place in the feed."""
        self._place.close()


class _Talk:
    """One of them, from its first frame to its last."""

    def __init__(self, place: Place, line: Line, heartbeat_s: float) -> None:
        self._place = place
        self._line = line
        self._heartbeat_s = heartbeat_s
        self._protocol = Connection(ConnectionType.SERVER)
        self._sending = Lock()
        self.sent = 0  # bytes
        self._closing = False  # nothing is sent after a close
        self._answer: CloseConnection | None = None  # what the client's end is answered with
        self._hearing = with_cancel(background())  # ends when nothing more is heard
        self._heard_at = self._pinged_at = monotonic()
        self._message = 0  # bytes of the client's present message
        self._heard = 0  # bytes since the last heartbeat

    def run(self) -> None:
        """Returns when it is over, and nothing of it runs any more."""
        with Group(background(), name="websocket") as group:
            group.spawn(self._hear)
            try:
                self._tell()
                self._hearing.done.wait(CLOSE_S)
            except OSError:
                pass  # the client is gone, or was cut off
            finally:
                self._line.end_input()

    def _tell(self) -> None:
        """Send what happens until there is an end, and then that."""
        last: CloseConnection | None = CloseConnection(INTERNAL, "internal: something went wrong here")
        try:
            self._tell_of_events()
            last = CloseConnection(POLICY, f"silent: no answer to a ping for {self._heartbeat_s:g} s")
        except Ended as end:
            reason = None if end.ending is Ending.COMPLETE else f"{end.ending.value}: {REASONS[end.ending]}"
            last = CloseConnection(CODES[end.ending], reason)
        except ClientClosedRequest:
            last = self._answer
        finally:
            if last is not None:  # else it has gone without a word
                self._send(last)

    def _tell_of_events(self) -> None:
        """Returns where the client does not answer any more. Raises Ended, or the error of the place's context."""
        subscription, ctx = self._place.subscription, self._place.ctx
        while True:
            due_s = self._pinged_at + self._heartbeat_s - monotonic()
            if due_s > 0:
                with suppress(TimeoutError):
                    data = show_all(subscription.next(ctx, due_s), frames)
                    with self._sending:
                        self._put(data)
                continue
            if self._heard_at < self._pinged_at:
                return
            self._pinged_at, self._heard = monotonic(), 0
            self._send(Ping())

    def _send(self, frame: Frame) -> None:
        """Send a frame, unless the last one was sent."""
        with self._sending:
            if not self._closing:
                self._closing = isinstance(frame, CloseConnection)
                self._put(self._protocol.send(frame))

    def _put(self, data: bytes) -> None:
        self._line.sendall(data)
        self.sent += len(data)

    def _hear(self, _ctx: Context) -> None:
        """Take what the client sends, until it ends or breaks a rule; then there is an `_answer`, if one is due."""
        try:
            while self._answer is None and (data := self._line.receive()):
                self._heard_at = monotonic()
                self._protocol.receive_data(data)
                for frame in self._protocol.events():
                    self._answer = self._take(frame)
                    if self._answer is not None:
                        break
            self._place.ctx.cancel()
            self._pass_over()
        except OSError:
            pass
        finally:
            self._place.ctx.cancel()
            self._hearing.cancel()

    def _pass_over(self) -> None:
        """Take the rest of what was too much, so that the client comes to read why: closed on, it would see a reset."""
        left = MOST_PASSED_OVER
        while self._broke_a_rule and left > 0 and (data := self._line.receive()):
            left -= len(data)

    @property
    def _broke_a_rule(self) -> bool:
        return self._answer is not None and self._protocol.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING)

    def _take(self, frame: Frame) -> CloseConnection | None:
        """What to close with because of it, if so."""
        if isinstance(frame, CloseConnection):
            if self._protocol.state is ConnectionState.OPEN:  # it is no frame of the client's: what came was none
                return CloseConnection(frame.code, f"protocol: {frame.reason}")
            return frame.response()
        size = 0
        if isinstance(frame, TextMessage | BytesMessage):
            size = len(frame.data.encode() if isinstance(frame.data, str) else frame.data)
            self._message += size
            if self._message > MOST_MESSAGE:
                return CloseConnection(TOO_BIG, f"too big: a message has at most {MOST_MESSAGE} bytes")
            if frame.message_finished:
                self._message = 0
        elif isinstance(frame, Ping):
            self._send(frame.response())
        self._heard += max(size, LEAST_COUNTED)
        if self._heard > MOST_HEARD:
            return CloseConnection(POLICY, f"too much: {MOST_HEARD // LEAST_COUNTED} frames, or {MOST_HEARD} bytes, are heard")
        return None


def frames(events: Sequence[Event]) -> bytes:
    """Events as messages. Without extensions a server's frames are the same on every connection."""
    framer = Connection(ConnectionType.SERVER)
    return b"".join(framer.send(TextMessage(to_json(show_event(event)).decode())) for event in events)
