"""Digests of all files in a folder: walked by one thread, read by several, put in order at the end.

The pipeline is walk -> batches of small files, large ones alone -> fan-out to `jobs` readers -> fan-in. Each reader borrows
one recycled buffer a batch, so memory is `jobs` buffers, some batches, and a line a file. Readers are threads: hashlib and
the system's reads leave the interpreter's lock, and what remains of a small file is less than what processes would cost.

Only regular files are read. A symbolic link is never followed, anything else (FIFO, socket, device) never opened: a problem.
A file that cannot be read, is gone, or changes while it is read is a problem of its own; the others go on.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from service.audit.names import show
from service.concurrency.context import Context
from service.concurrency.freelist import FreeList
from service.concurrency.pipeline import Pipeline
from service.errors import InvalidInput

ALGORITHMS: dict[str, Callable[..., Any]] = {
    "sha256": hashlib.sha256,
    "md5": partial(hashlib.md5, usedforsecurity=False),
    "blake2b": hashlib.blake2b,
}
BUFFER_BYTES = 1 << 20
BATCH_FILES = 64
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device", stat.S_IFBLK: "a block device",
}


class File(NamedTuple):
    """A file to read: its name below the folder, and its size in bytes as the walk saw it."""

    name: bytes
    size: int


class Digest(NamedTuple):
    """What a file holds: `value` is the digest in hexadecimal, `size` the bytes that were read."""

    name: bytes
    value: str
    size: int


class Problem(NamedTuple):
    """Why there is no digest of a file, or what is wrong with it."""

    name: bytes
    text: str


@dataclass(slots=True)
class Report:
    """What a walk and its readers tell beside the digests. Several threads add to `problems`, the walk alone to the rest."""

    problems: list[Problem] = field(default_factory=list)
    links: int = 0
    found_bytes: int = 0

    def fail(self, name: bytes, text: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(name, text))


def walk(folder: bytes, left_out: frozenset[tuple[int, int]], report: Report) -> Iterator[File]:
    """The regular files below `folder`, in no order. `left_out` are files that are none of it, by device and inode.

    Raises InvalidInput where `folder` itself cannot be listed; a folder below it is a problem of the report.
    """
    waiting = [b""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder + b"/" + below) as entries:
                listed = list(entries)
        except OSError as error:
            if not below:
                raise InvalidInput(f"cannot list the folder {os.fsdecode(folder)}: {error.strerror}") from error
            report.fail(below[:-1], f"cannot be listed: {error.strerror}")
            continue
        for entry in listed:
            name = below + entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                report.fail(name, _why(error))
                continue
            if stat.S_ISREG(status.st_mode):
                if not left_out or (status.st_dev, status.st_ino) not in left_out:
                    report.found_bytes += status.st_size
                    yield File(name, status.st_size)
            elif stat.S_ISDIR(status.st_mode):
                waiting.append(name + b"/")
            elif stat.S_ISLNK(status.st_mode):
                report.links += 1
            else:
                report.fail(name, _not_regular(status.st_mode))


def look_up(folder: bytes, names: Iterable[bytes], report: Report) -> Iterator[File]:
    """The files of these names below `folder`.

    What is missing, is no regular file, or lies behind a symbolic link to a folder is a problem of the report.
    """
    links: dict[bytes, bool] = {}
    for name in names:
        try:
            status = os.lstat(folder + b"/" + name)
        except OSError as error:
            report.fail(name, _why(error))
            continue
        if (link := _first_link(folder, name, links)) is not None:
            report.fail(name, f"is reached through a symbolic link, {show(link)}, which is not followed")
        elif stat.S_ISREG(status.st_mode):
            report.found_bytes += status.st_size
            yield File(name, status.st_size)
        else:
            report.fail(name, _not_regular(status.st_mode))


def _first_link(folder: bytes, name: bytes, known: dict[bytes, bool]) -> bytes | None:
    """The first symbolic link among the folders above `name`. `known` keeps what was found out."""
    end = -1
    while (end := name.find(b"/", end + 1)) >= 0:
        above = name[:end]
        if above not in known:
            known[above] = os.path.islink(folder + b"/" + above)
        if known[above]:
            return above
    return None


def digest_files(
    ctx: Context,
    folder: bytes,
    files: Iterable[File],
    report: Report,
    *,
    algorithm: str,
    jobs: int,
    progress: Callable[[int, int], None],
) -> list[Digest]:
    """The digests of `files` below `folder`, sorted by name, by `jobs` threads; they have ended when it returns or raises.

    `progress` is called by the readers with the files and the bytes that are done more. Raises the error of `ctx`, and what
    `files` raises.
    """
    buffers: FreeList[memoryview] = FreeList(lambda: memoryview(bytearray(BUFFER_BYTES)), jobs)
    done: list[Digest] = []
    with Pipeline(ctx, capacity=4 * jobs, name="digest") as line:
        reader = _Reader(line.ctx, folder, ALGORITHMS[algorithm], report, progress)

        def read(batch: list[File]) -> list[Digest]:
            with buffers.borrowed() as buffer:
                return [digest for file in batch if (digest := reader.read(file.name, buffer)) is not None]

        for batch in line.results(line.stage(line.generate(_batches(files)), read, workers=jobs)):
            done += batch
    done.sort()
    report.problems.sort()
    return done


def _batches(files: Iterable[File]) -> Iterator[list[File]]:
    """Up to BATCH_FILES that together fit into a buffer, since a hand-over costs as much as a small file; large ones alone."""
    batch: list[File] = []
    room = BUFFER_BYTES
    for file in files:
        if file.size >= BUFFER_BYTES:
            yield [file]
            continue
        if len(batch) == BATCH_FILES or file.size > room:
            yield batch
            batch, room = [], BUFFER_BYTES
        batch.append(file)
        room -= file.size
    if batch:
        yield batch


class _Reader:
    """Reads one file at a time in each thread."""

    def __init__(
        self, ctx: Context, folder: bytes, new: Callable[..., Any], report: Report, progress: Callable[[int, int], None]
    ) -> None:
        self._ctx = ctx
        self._prefix = folder + b"/"
        self._new = new
        self._report = report
        self._progress = progress

    def read(self, name: bytes, buffer: memoryview) -> Digest | None:
        """The digest of the file, or None and a problem in the report."""
        try:
            fd = os.open(self._prefix + name, _FLAGS)
            try:
                return self._read_open(name, fd, buffer)
            finally:
                os.close(fd)
        except OSError as error:
            self._report.fail(name, _why(error))
            return None

    def _read_open(self, name: bytes, fd: int, buffer: memoryview) -> Digest | None:
        before = os.fstat(fd)
        if not stat.S_ISREG(before.st_mode):  # it was one when the walk came by
            self._report.fail(name, _not_regular(before.st_mode))
            return None
        digest, size = self._new(), 0
        while count := os.readv(fd, (buffer,)):
            digest.update(buffer[:count])
            size += count
            if size >= before.st_size:  # more than that is a change, however long it goes on
                break
            self._progress(0, count)
            self._ctx.check()
        after = os.fstat(fd)
        if size != before.st_size or (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns):
            self._report.fail(name, "changed while it was read")
            return None
        self._progress(1, count)
        return Digest(name, digest.hexdigest(), size)


def _why(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"


def _not_regular(mode: int) -> str:
    return f"is {_KINDS.get(stat.S_IFMT(mode), 'of an unknown kind')}; only regular files have a digest"
