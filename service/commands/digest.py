"""`ledgerd digest`: write the digests of a folder's files, or compare them with a manifest."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from typing import Any

from service.audit.digest import ALGORITHMS, Report, digest_files, look_up, walk
from service.audit.manifest import read_lines, write_lines
from service.audit.names import show
from service.commands.command import INTERRUPTED, add_command, file_name, positive, printing, say
from service.commands.output import output
from service.commands.progress import Progress, and_bytes
from service.concurrency.context import background, with_cancel
from service.concurrency.primitives import monotonic
from service.errors import InvalidInput

_MOST_JOBS = 64


def add_digest_command(commands: Any) -> None:
    """Add `digest`."""
    digest = add_command(
        commands, "digest", _digest,
        "Print the digest of every regular file below a folder, sorted by name, as `sha256sum -c` (md5sum, b2sum) in that"
        " folder reads it; or compare the files with such a manifest. Status 1 where a file has no digest, or another one.",
    )
    digest.add_argument("folder", type=file_name, metavar="DIR", help="the folder; names are told from there")
    digest.add_argument("--algorithm", choices=list(ALGORITHMS), default="sha256", help="sha256 unless it is given")
    digest.add_argument("-o", "--output", type=file_name, metavar="FILE", help="write the manifest to it, whole or not at all")
    digest.add_argument("--check", type=file_name, metavar="FILE", help="compare the files that this manifest names with it")
    digest.add_argument("--complete", action="store_true", help="with --check: a file that it does not name is a problem")
    digest.add_argument("--jobs", type=positive(_MOST_JOBS), metavar="N", help="read with so many threads (one a core)")
    digest.add_argument("--json", action="store_true", help="print what was done, and how fast, as JSON; with -o or --check")


def _digest(options: argparse.Namespace) -> int:
    if wrong := _contradiction(options):
        say(wrong)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as SIGINT: the readers end, and nothing half written stays
    try:
        return _check(options) if options.check is not None else _write(options)
    except KeyboardInterrupt:
        say("interrupted; nothing was written")
        return INTERRUPTED


def _contradiction(options: argparse.Namespace) -> str | None:
    if options.check is not None and options.output is not None:
        return "--check compares and -o writes: give one of them"
    if options.complete and options.check is None:
        return "--complete goes with --check FILE"
    if options.json and options.check is None and options.output is None:
        return "--json prints to standard output, where the manifest would go: give -o FILE or --check FILE too"
    return None


def _write(options: argparse.Namespace) -> int:
    run = _Run(options)
    place = options.output if options.output is not None else sys.stdout.fileno()
    digests = run.digests(walk(run.folder, _identity(place), run.report))
    content = write_lines(digests)
    with output(options.output) as file:
        file.write(content)
    return run.end()


def _check(options: argparse.Namespace) -> int:
    run = _Run(options)
    try:
        with open(options.check, "rb") as manifest:
            text = manifest.read()
    except OSError as error:
        raise InvalidInput(f"cannot read the manifest {options.check}: {error.strerror}") from error
    entries, bad = read_lines(text, options.algorithm)
    for line in bad:
        run.say(f"{options.check}, line {line.number}: {line.text}")
    if not entries and not bad:
        run.say(f"{options.check} names no file")
    for digest in run.digests(look_up(run.folder, entries, run.report)):
        if digest.value != entries[digest.name].value:
            run.report.fail(digest.name, "differs from the manifest")
    if options.complete:
        found = Report()
        for file in walk(run.folder, _identity(options.check), found):
            if file.name not in entries:
                run.report.fail(file.name, "is not in the manifest")
        run.report.problems += [problem for problem in found.problems if problem.name not in entries]
        run.report.links += found.links
    return run.end()


class _Run:
    """One run of the command: what it has found, and how long it took."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder = os.fsencode(options.folder)
        self.report = Report()
        self._options = options
        self._began = monotonic()
        self._files = self._bytes = 0
        self._said: list[str] = []

    def digests(self, files: Any) -> Any:
        """The digests of `files`, with a bar on a terminal where it takes long."""
        progress = Progress(lambda: self.report.found_bytes, sys.stderr, show=and_bytes("files"))
        with with_cancel(background()) as ctx:
            try:
                digests = digest_files(
                    ctx, self.folder, files, self.report, algorithm=self._options.algorithm,
                    jobs=self._options.jobs or len(os.sched_getaffinity(0)), progress=progress.add,
                )
            finally:
                progress.clear()
        self._files, self._bytes = len(digests), sum(digest.size for digest in digests)
        return digests

    def say(self, text: str) -> None:
        """Tell a problem that is no file's."""
        say(text)
        self._said.append(text)

    def end(self) -> int:
        """Tell each problem and, if it is wanted, the figures; the exit status."""
        for name, text in sorted(self.report.problems):
            say(f"{show(name)}: {text}")
        if self.report.links:
            say(f"{self.report.links} symbolic links were left out")
        problems = [*self._said, *(f"{show(name)}: {text}" for name, text in sorted(self.report.problems))]
        if self._options.json:
            seconds = monotonic() - self._began
            figures = {
                "algorithm": self._options.algorithm, "files": self._files, "bytes": self._bytes, "seconds": round(seconds, 6),
                "files_per_s": round(self._files / seconds), "bytes_per_s": round(self._bytes / seconds),
                "links": self.report.links, "problems": problems,
            }
            with printing():
                print(json.dumps(figures, indent=2))
        return 1 if problems else 0


def _identity(place: str | int) -> frozenset[tuple[int, int]]:
    """The device and inode of the manifest, which is none of the files; nothing where there is none yet."""
    try:
        status = os.stat(place)
    except OSError:
        return frozenset()
    return frozenset({(status.st_dev, status.st_ino)})
