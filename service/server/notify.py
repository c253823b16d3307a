"""What we tell systemd, over the datagram socket that it names in NOTIFY_SOCKET: the protocol of sd_notify(3).

Without that variable nothing is sent. Left out: vsock addresses and file descriptors, which a service on its host needs not.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import MutableMapping

log = logging.getLogger("ledgerd.server")

SEND_TIMEOUT_S = 1.0  # systemd reads at once; a full queue must not stop the arbiter's loop


class Notifier:
    """Sends to one socket, for one process."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """`address` is a path, or a name after `@` for an abstract socket; systemd must hear of us every `watchdog_s`."""
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def take_from(cls, env: MutableMapping[str, str]) -> Notifier:
        """The notifier of `env`, from which its variables are taken away: no child may speak in our name by accident."""
        address = env.pop("NOTIFY_SOCKET", None)
        watchdog, pid = env.pop("WATCHDOG_USEC", ""), env.pop("WATCHDOG_PID", "")
        mine = watchdog.isdecimal() and int(watchdog) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(watchdog) / 1e6 if mine else None)

    def send(self, **variables: object) -> None:
        """Send the assignments in one message. A failure is logged: the service must not end because nobody listens."""
        if not self._address:
            return
        lines = [f"{name}={str(value).replace(chr(10), ' ')}" for name, value in variables.items()]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT_S)
                sender.connect(self._address)
                sender.send("\n".join(lines).encode())
        except OSError as error:
            log.warning("systemd cannot be told %s: %s", ", ".join(variables), error)


def monotonic_usec() -> int:
    """The clock that systemd compares a reload with, in microseconds."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
