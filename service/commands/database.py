"""The database that a command works on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from service.commands.command import say
from service.concurrency.context import Context, background, with_timeout
from service.config import Config
from service.errors import ConfigurationError
from service.server.supervisor import embedded


@contextmanager
def database(config: Config, *, makes: bool = False) -> Iterator[str]:
    """The address of the database; the embedded one is started for the block unless a `ledgerd serve` runs it already.

    Where there is none yet, it is made if the command `makes` something of its own. Raises ConfigurationError.
    """
    if config.database_url is not None:
        yield config.database_url
        return
    postgres = embedded(config)
    if postgres.is_running():
        yield postgres.url
        return
    if not makes and not postgres.is_made:
        raise ConfigurationError(
            f"there is no database in {config.data_dir}: set LEDGERD_DATA_DIR or DATABASE_URL; `ledgerd migrate` makes one"
        )
    postgres.start(say)
    try:
        yield postgres.url
    finally:
        postgres.stop()


@contextmanager
def work(*, makes: bool = False) -> Iterator[tuple[Context, str]]:
    """For a command that works on the database: a context with the configured time, and the address.

    `makes` as in `database`. Raises ConfigurationError.
    """
    config = Config.from_env(os.environ)
    with database(config, makes=makes) as url, with_timeout(background(), config.timeout_s) as ctx:
        yield ctx, url
