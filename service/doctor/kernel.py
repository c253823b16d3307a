"""What the kernel says about its clock."""

from __future__ import annotations

import ctypes
import errno

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 256  # above the size of struct timex; `modes`, its beginning, is 0 and so nothing is set


def adjtimex() -> int:
    """The kernel clock's state as adjtimex(2) returns it; a negative errno where it does not say."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        state: int = libc.adjtimex(timex)
    except AttributeError:
        return -errno.ENOSYS
    return state if state >= 0 else -ctypes.get_errno()
