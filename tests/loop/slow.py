"""Clients that send a byte at a time, and others that are to be served all the same."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

from tests.loop.exchange import exchange

NUMBER = 1000 if os.environ.get("LEDGERD_CHAOS") == "full" else 200
GOOD = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BEGINNINGS = (b"GET / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")


def serve_beside_slow_clients(port: int, *, rounds: int) -> tuple[int, int]:
    """Keep NUMBER connections that send a byte a round, half in a head and half in a body, and ask 20 good requests a round.

    It ends after `rounds`, or when the server has closed all slow ones. Returns how many good requests were answered, each
    with 200, and how many slow connections are still there.
    """
    with ExitStack() as stack:
        slow = []
        for n in range(NUMBER):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            sock.sendall(BEGINNINGS[n % 2])
            slow.append(sock)
        answered = 0
        for _ in range(rounds):
            for _ in range(20):
                (reply,) = exchange(port, [GOOD])
                assert reply.status == 200, reply
                answered += 1
            slow = [sock for sock in slow if _send_one_byte(sock)]
            if not slow:
                break
        return answered, len(slow)


def _send_one_byte(sock: socket.socket) -> bool:
    try:
        sock.send(b"x")
    except OSError:
        return False
    return True
