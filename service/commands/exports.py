"""`ledgerd export`: write the transfers of a ledger to a file, straight from the database."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterable
from contextlib import closing
from typing import Any, BinaryIO

from service.api.export import BATCH, TYPES, export
from service.api.filters import read_wanted
from service.commands import arguments
from service.commands.command import INTERRUPTED, WrongCall, add_command, file_name, say, utf8
from service.commands.database import database
from service.commands.output import output
from service.commands.progress import Progress, and_bytes
from service.concurrency.context import background, with_cancel
from service.config import Config
from service.database import open_files
from service.errors import InvalidInput

_FILTERS = {
    "account_id": ("ID", "those from or to this account"),
    "reference": ("TEXT", "those with exactly this reference"),
    "from": ("TIME", "those from this time on, such as 2026-01-31T09:30:00Z"),
    "to": ("TIME", "those before this time"),
}


def add_export_command(commands: Any) -> None:
    """Add `export`."""
    added = add_command(
        commands, "export", _export,
        "Write all transfers of a ledger, or those wanted, oldest first, as they are when it begins. A file is there when it"
        " is whole, and not before.",
    )
    added.add_argument("--ledger", default="main", type=arguments.ledger_name, help="the ledger (default: main)")
    added.add_argument(
        "-o", "--output", type=file_name, metavar="FILE", help="the file, which is replaced (default: standard output)"
    )
    added.add_argument("--format", choices=[*TYPES], help="default: by the file's ending, else ndjson")
    for name, (shown, text) in _FILTERS.items():
        added.add_argument("--" + name.replace("_", "-"), type=utf8, metavar=shown, dest=f"wanted_{name}", help=text)


def _export(options: argparse.Namespace) -> int:
    given = {name: value for name in _FILTERS if (value := getattr(options, f"wanted_{name}")) is not None}
    try:
        wanted = read_wanted(given)
    except InvalidInput as error:
        raise WrongCall(error.message) from error
    form = options.format or ("csv" if (options.output or "").lower().endswith(".csv") else "ndjson")
    progress = Progress(lambda: 0, sys.stderr, show=and_bytes("lines"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as by Ctrl-C: nothing half written stays
    try:
        with (
            database(Config.from_env(os.environ)) as url, open_files(url, options.ledger) as files,
            with_cancel(background()) as ctx,
        ):
            ledger_id, transfers = files.ledger.id, files.transfers
            made = export(ctx, lambda inner: transfers.export_transfers(inner, ledger_id, wanted, batch=BATCH), form)
            with closing(made) as pieces, output(options.output) as file:
                _write(file, pieces, progress)
    except KeyboardInterrupt:
        say("interrupted; the file was not written" if options.output else "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        say("nobody reads the export any more")
        raise
    return 0


def _write(file: BinaryIO, pieces: Iterable[bytes], progress: Progress) -> None:
    try:
        for piece in pieces:
            file.write(piece)
            progress.add(piece.count(b"\n"), len(piece))
    finally:
        progress.clear()
