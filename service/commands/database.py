"""The database that a command works on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from service.commands.command import say
from service.concurrency.context import Context, background, with_timeout
from service.config import Config
from service.server.supervisor import embedded


@contextmanager
def database(config: Config) -> Iterator[str]:
    """The address of the database; the embedded one is started for the block unless a `ledgerd serve` runs it already."""
    if config.database_url is not None:
        yield config.database_url
        return
    postgres = embedded(config)
    if postgres.is_running():
        yield postgres.url
        return
    postgres.start(say)
    try:
        yield postgres.url
    finally:
        postgres.stop()


@contextmanager
def work() -> Iterator[tuple[Context, str]]:
    """For a command that works on the database: a context with the configured time, and the address.

    Raises ConfigurationError.
    """
    config = Config.from_env(os.environ)
    with database(config) as url, with_timeout(background(), config.timeout_s) as ctx:
        yield ctx, url
