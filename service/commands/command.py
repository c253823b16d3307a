"""What every command needs, and no more: `ledgerd digest` imports nothing of the others' modules."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from service.errors import ConfigurationError

INTERRUPTED = 130  # the exit status, as a shell tells it of a program that SIGINT ended


class WrongCall(ConfigurationError):
    """The command cannot be meant as it was called; status 2, as for what the parser itself refuses."""


def say(text: str) -> None:
    """Tell the one who runs the command; results go to standard output instead."""
    print(f"ledgerd: {text}", file=sys.stderr, flush=True)


def let_output_go() -> None:
    """Send what is left for standard output nowhere, once that has failed: else the interpreter fails at it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextmanager
def printing() -> Iterator[None]:
    """For a block that only prints: all is written when it ends, also what was printed before.

    Raises ConfigurationError where standard output cannot be written, and BrokenPipeError where nobody reads it any more.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        let_output_go()
        raise ConfigurationError(f"standard output cannot be written: {error.strerror}") from error


def add_command(under: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    """A subcommand that `run` carries out; `text` is its help."""
    added: argparse.ArgumentParser = under.add_parser(name, help=text, description=text)
    added.set_defaults(run=run)
    return added


def positive(most: int) -> Callable[[str], int]:
    """A whole number from 1 to `most`."""

    def number(text: str) -> int:
        if text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to {most}")

    return number


def file_name(text: str) -> str:
    """The name of a file or a folder. An empty one, of a variable that is not set, would be another than is meant."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, not an empty one")
    return text


def utf8(text: str) -> str:
    """Text that the database can hold: an argument may be any bytes, and those that are no UTF-8 become surrogates."""
    if not is_utf8(text):
        raise argparse.ArgumentTypeError("expected UTF-8")
    return text


def is_utf8(text: str) -> bool:
    """Whether an argument, or the name of a file, was UTF-8 before it became a text."""
    return not any("\ud800" <= each <= "\udfff" for each in text)
