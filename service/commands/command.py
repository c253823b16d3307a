"""What every command needs, and no more: `ledgerd digest` imports nothing of the others' modules."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any


def say(text: str) -> None:
    """Tell the one who runs the command; results go to standard output instead."""
    print(f"ledgerd: {text}", file=sys.stderr, flush=True)


def let_output_go() -> None:
    """Send what is left for standard output nowhere, once that has failed: else the interpreter fails at it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


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


def path(text: str) -> str:
    """The name of a file or a folder. An empty one, of a variable that is not set, would be another than is meant."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, not an empty one")
    return text
