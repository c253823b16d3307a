"""The file that a command writes: whole or not at all where it is a regular one, and straight into anything else."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import BinaryIO

from service.commands.command import let_output_go
from service.errors import ConfigurationError


@contextmanager
def output(path: str | None) -> Iterator[BinaryIO]:
    """What the block writes is at `path` when it ends: on disk, and in place of what was there, links followed.

    Where the block raises, all stays as it was. A device or a FIFO is written into directly; None is standard output. Raises
    ConfigurationError where that cannot be written, and passes BrokenPipeError on: nobody reads it any more.
    """
    try:
        with _opened(path) as file:
            yield file
            file.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        if path is None:
            let_output_go()
        raise ConfigurationError(f"{path or 'standard output'} cannot be written: {error.strerror or error}") from error


def _opened(path: str | None) -> AbstractContextManager[BinaryIO]:
    if path is None:
        return nullcontext(sys.stdout.buffer)
    mode = _mode(path)
    return _replacing(path, mode) if mode is None or stat.S_ISREG(mode) else open(path, "wb")


def _mode(path: str) -> int | None:
    """Its kind and permissions; None where there is nothing yet."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


@contextmanager
def _replacing(path: str, mode: int | None) -> Iterator[BinaryIO]:
    place = os.path.realpath(path)
    folder = os.path.dirname(place)
    fd, partial = tempfile.mkstemp(dir=folder, prefix=".ledgerd-", suffix=".part")  # a longer name may be too long
    try:
        with open(fd, "wb") as file:
            yield file
            os.fchmod(fd, 0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))
            os.fsync(fd)
        os.replace(partial, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(partial)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _umask() -> int:
    mask = os.umask(0o077)  # it cannot be asked for
    os.umask(mask)
    return mask
