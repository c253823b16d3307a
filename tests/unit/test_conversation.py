"""A WebSocket that is told of a log in memory, by a client that sends anything: what comes back are frames, and it ends."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage
from wsproto.events import Event as Frame

from service.api.conversation import Conversation
from service.api.listening import Place
from service.events.feed import Feed
from service.events.key_watch import KeyWatch
from service.middleware.environ import TAKE_OVER
from tests.event_log import MemoryLog
from tests.unit.test_feed import listen
from tests.unit.test_key_watch import Holder
from tests.websocket import frame

PIECES = st.one_of(
    st.builds(
        frame, st.sampled_from([0, 1, 2, 3, 8, 9, 10]), st.binary(max_size=130), fin=st.booleans(), mask=st.booleans(),
        rsv=st.sampled_from([0, 0, 0, 1]),
    ),
    st.builds(frame, st.sampled_from([1, 2, 8, 9, 10]), st.text(max_size=20).map(str.encode)),
    st.sampled_from([frame(1, b"x" * 65_536), frame(1, b"x" * 65_537)]),
    st.binary(max_size=40),
)


class Line:
    """A client that has sent these pieces, and then nothing more; what is sent to it is kept."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.sent = b""

    def receive(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def end_input(self) -> None:
        self._pieces.clear()


def talk(line: Line, events: int = 0) -> list[Frame]:
    """The whole of it; what the server sent, as a client takes it. With `events` to be told it ends after these."""
    log = MemoryLog()
    for _ in range(events):
        log.add()
    feed = Feed(log, most=1)
    keys = KeyWatch(lambda _ctx, _token: Holder({"events:read"}), "events:read", feed.let_go)
    place = Place({TAKE_OVER: lambda: line}, listen(feed, after=0, follow=events == 0), keys)
    conversation = Conversation(place, heartbeat_s=20)
    assert list(conversation) == [b""]
    conversation.close()
    assert feed.clients == 0
    assert conversation.sent == len(line.sent)
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(line.sent)
    found = list(client.events())
    assert not any(isinstance(one, CloseConnection) for one in found[:-1]), "frames after the last one"
    return found


@settings(max_examples=300)
@given(st.lists(PIECES, max_size=8), st.integers(0, 2))
def test_whatever_is_sent_it_ends_with_frames_that_a_client_takes(pieces: list[bytes], events: int) -> None:
    """The last one tells how, with a code that may be sent; a client takes none that may not."""
    codes = [one.code for one in talk(Line(pieces), events) if isinstance(one, CloseConnection)]
    assert len(codes) <= 1


@settings(max_examples=100)
@given(st.data(), st.lists(PIECES, min_size=1, max_size=5))
def test_it_does_not_matter_how_bytes_are_cut(data: st.DataObject, pieces: list[bytes]) -> None:
    """The same code at the end, be they received one by one or all at once."""
    whole = b"".join(pieces)[:3_000]
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    cut = [whole[begin:end] for begin, end in zip([0, *places], [*places, len(whole)], strict=True)]
    ends = [[int(one.code) for one in talk(Line(sent)) if isinstance(one, CloseConnection)] for sent in ([whole], cut)]
    assert ends[0] == ends[1]


def test_events_come_before_the_end() -> None:
    """One message each, whole, and then a normal close: it was not to follow."""

    class Waiting(Line):
        def receive(self) -> bytes:
            while b"\x88" not in self.sent:  # until the server closes
                pass
            return frame(8, b"\x03\xe8")

    *told, last = talk(Waiting([]), events=3)
    assert [isinstance(one, TextMessage) and one.message_finished for one in told] == [True] * 3
    assert isinstance(last, CloseConnection)
    assert last.code == 1000
