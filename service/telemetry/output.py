"""Standard error, written to line by line without ever waiting for whoever reads it.

A reader that stands still (a journal, a pipe into another program) must not stop the ledger: a line that would have to wait is
dropped and counted. The descriptor's own flags stay as they are, since other processes write to the same open file: a socket,
as journald gives it, is asked not to wait at each send, and a pipe is opened a second time for this process alone. What else
it may be is written to as it is, and may make this process wait: a file on a disk that stands still, a terminal paused by ^S,
a pipe that another user has made and that can therefore not be opened again.

A line of up to PIPE_BUF (4,096) bytes is written whole or not at all, also when several processes write at once. Of a longer
one, such as a traceback, a part may be missing; then the next line begins after a line break.
"""

from __future__ import annotations

import _socket
import os
import stat
from collections.abc import Callable
from functools import cache, partial

STANDARD_ERROR = 2


class Output:
    """Writes whole lines to `fd`; `dropped` counts those that were lost, wholly or in part."""

    def __init__(self, fd: int) -> None:
        self.dropped = 0
        self._torn = False
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode):
            sock = _socket.socket(fileno=os.dup(fd))
            self._send: Callable[[bytes], int] = lambda line: sock.send(line, _socket.MSG_DONTWAIT)
            self.close = sock.close
            return
        own = _open_again(fd) if stat.S_ISFIFO(mode) else os.dup(fd)
        self._send, self.close = partial(os.write, own), partial(os.close, own)

    def write(self, lines: bytes) -> None:
        """Write `lines`, each with a line break at its end, at once or never."""
        if self._torn:
            lines = b"\n" + lines
        try:
            sent = self._send(lines)
        except OSError:  # no room, or nobody reads any more
            self.dropped += lines.count(b"\n") - self._torn
            return
        self._torn = sent < len(lines)
        self.dropped += lines.count(b"\n", sent)


@cache
def standard_error() -> Output:
    """This process's standard error; workers go on with what their arbiter has."""
    return Output(STANDARD_ERROR)


def _open_again(fd: int) -> int:
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # it belongs to somebody else, or nobody reads it any more
        return os.dup(fd)
