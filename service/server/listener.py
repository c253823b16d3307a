"""How a listening socket of our own ends without losing a connection.

A connection is complete, for its client, before anybody accepts it: the kernel keeps it in the listener's queue. Closing the
last descriptor, or shutdown(), resets all that are there. So first the kernel is told to let no further one in, by a packet
filter that drops everything at the listener; then the workers take what is queued until nothing is left, and close. A client
that comes in between repeats its SYN and is refused: it never had a connection.

A listener of systemd stays as it is. What is queued there is for whoever listens next.
"""

from __future__ import annotations

import ctypes
import socket
import struct

_SO_ATTACH_FILTER = 26  # Linux; the socket module has no name for it
_DROP_ALL = struct.pack("HBBI", 0x06, 0, 0, 0)  # struct sock_filter: return 0, that is, keep none of the packet


def let_nobody_in(listener: socket.socket) -> None:
    """From now on `listener` completes no connection; those in its queue stay. Raises OSError where the kernel refuses."""
    code = ctypes.create_string_buffer(_DROP_ALL, len(_DROP_ALL))
    program = struct.pack("HP", 1, ctypes.addressof(code))  # struct sock_fprog: its length, then where it is
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
