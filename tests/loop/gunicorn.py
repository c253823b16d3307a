"""`python -m tests.loop.gunicorn OPTIONS`: gunicorn, whose bounds on clients can be made short by the environment."""

from __future__ import annotations

import os
import sys

from gunicorn.app.wsgiapp import run


def shorten() -> None:
    """LOOP_BOUNDS="NAME=SECONDS,…" sets bounds of service.server.connection, before any worker imports them."""
    from service.server import connection

    for pair in filter(None, os.environ.get("LOOP_BOUNDS", "").split(",")):
        name, _, value = pair.partition("=")
        assert hasattr(connection, name), name
        setattr(connection, name, type(getattr(connection, name))(value))


if __name__ == "__main__":
    shorten()
    sys.argv[0] = "gunicorn"
    run()
