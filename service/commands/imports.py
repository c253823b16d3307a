"""`ledgerd import`: post the transfers of a file, straight on the database."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import stat
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from math import inf
from pathlib import Path
from typing import Any

from service.api.importing import Import, Report
from service.api.imports import MOST_NAME, PIECE
from service.api.line_forms import FORMS
from service.audit.names import show
from service.commands import arguments
from service.commands.command import INTERRUPTED, WrongCall, add_command, file_name, is_utf8, positive, printing, say, utf8
from service.commands.database import database
from service.commands.progress import Progress, and_bytes
from service.commands.tables import print_rows
from service.concurrency.context import Context, background, with_cancel
from service.concurrency.primitives import Parking
from service.config import Config
from service.database import open_files
from service.errors import ConfigurationError
from service.repository.migrate import migrate
from service.repository.queries import sql_folder

SOME_REFUSED = 3  # exit statuses
MOST_RATE = 1_000_000  # lines a second
LOOK_EVERY_MS = 200  # whether what is read is still wanted
SETTLE_S = 0.2  # Ctrl-C ends whoever writes into a pipe as well, a moment before or after it is heard of here
_ENDINGS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}


def add_import_command(commands: Any) -> None:
    """Add `import`."""
    text = (
        "Post the transfers of a file, one a line. The same file under the same name again posts only what is missing. Status"
        f" {SOME_REFUSED} when lines were refused, {INTERRUPTED} when it was interrupted; what was posted stays."
    )
    added = add_command(commands, "import", _import, text)
    added.add_argument("file", type=file_name, metavar="FILE", help="the file; - is standard input")
    added.add_argument("--ledger", required=True, type=arguments.ledger_name, help="the ledger, which must be there")
    added.add_argument("--name", type=import_name, help="the import's own name, once for ever (default: the file's)")
    added.add_argument("--format", choices=[*FORMS], help="the form of the lines (default: by the file's ending)")
    added.add_argument(
        "--rate", type=positive(MOST_RATE), default=inf, metavar="N",
        help="lines a second at most, to leave the database to others (default: as fast as it goes)",
    )
    added.add_argument("--json", action="store_true", help="print the report as JSON")


def import_name(text: str) -> str:
    """What makes an import happen once."""
    if not 1 <= len(text) <= MOST_NAME or "\x00" in text:
        raise argparse.ArgumentTypeError(f"expected 1 to {MOST_NAME} characters")
    return utf8(text)


def _import(options: argparse.Namespace) -> int:
    name, form = _name_and_form(options)
    report = Report(name)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as by Ctrl-C
    try:
        with _opened(options.file) as (file, size), database(Config.from_env(os.environ)) as url:
            migrate(url, sql_folder(), lambda _: None)
            progress = Progress(lambda: size, sys.stderr, show=and_bytes("lines"))
            with open_files(url, options.ledger) as files, with_cancel(background()) as ctx:
                work = Import(ledger_id=files.ledger.id, name=name, form=FORMS[form](), rate_per_s=options.rate)
                with closing(work.run(ctx, lambda inner: _pieces(inner, options.file, file, progress), files.bulk)) as reports:
                    try:
                        done = 0
                        for report in reports:
                            progress.add(report.lines - done, 0)
                            done = report.lines
                    finally:
                        progress.clear()
    except KeyboardInterrupt:
        say(f"interrupted after line {report.lines}; the same command does the rest, and posts nothing twice")
        return INTERRUPTED
    with printing():
        _print(report, as_json=options.json)
    return SOME_REFUSED if report.refused else 0


def _name_and_form(options: argparse.Namespace) -> tuple[str, str]:
    """As they are given, or as the file's name has them. Raises WrongCall."""
    file = show(os.fsencode(options.file))
    name = options.name or ("" if options.file == "-" else Path(options.file).name[:MOST_NAME])
    form = options.format or _ENDINGS.get(Path(options.file).suffix.lower(), "")
    problems = []
    if not name:
        problems.append(f"{'standard input' if file == '-' else file} has no name: give one with --name")
    elif not is_utf8(name):
        problems.append(f"the name of {file} is not UTF-8: give one with --name")
    if not form:
        problems.append(f"what form {file} has is not told by its ending: give --format {' or '.join(FORMS)}")
    if problems:
        raise WrongCall(*problems)
    return name, form


@contextmanager
def _opened(path: str) -> Iterator[tuple[int, int]]:
    """The descriptor of a file, and its size, 0 where it has none. Raises ConfigurationError."""
    try:
        descriptor = os.dup(sys.stdin.fileno()) if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise ConfigurationError(f"{path} is a folder")
        yield descriptor, status.st_size if stat.S_ISREG(status.st_mode) else 0
    finally:
        os.close(descriptor)


def _unreadable(path: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{'standard input' if path == '-' else path} cannot be read: {error.strerror}")


def _pieces(ctx: Context, path: str, file: int, progress: Progress) -> Generator[bytes, None, None]:
    """What is in the file. Raises ConfigurationError.

    A pipe or a terminal may have nothing for long, so it is looked whether it is still wanted.
    Where a pipe ends with whoever writes into it, its last lines are no end of the file: they are not to be posted as one.
    """
    waiting = select.poll()
    waiting.register(file, select.POLLIN)
    while True:
        while not waiting.poll(LOOK_EVERY_MS):
            ctx.check()
        try:
            piece = os.read(file, PIECE)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not piece:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                ctx.park(Parking(), SETTLE_S)
                ctx.check()
            return
        progress.add(0, len(piece))
        yield piece


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.shown(), indent=2))
        return
    lines = "1 line" if report.lines == 1 else f"{report.lines} lines"
    print(f"{lines}: {report.posted} posted, {report.replayed} replayed, {report.refused} refused")
    if report.refusals:
        rows = [{"line": one.line, "code": one.code, "field": one.field, "detail": one.detail} for one in report.refusals]
        print_rows(rows, ("line", "code", "field", "detail"), as_json=False)
    if report.refusals_left_out:
        print(f"and {report.refusals_left_out} more")
