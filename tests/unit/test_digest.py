"""Digests: what is read, what is told of the rest, and the lines of a manifest."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.audit.digest import ALGORITHMS, BUFFER_BYTES, Digest, File, Report, digest_files, look_up, walk
from service.audit.manifest import read_lines, write_lines
from service.audit.names import show
from service.commands.progress import EVERY_S, QUIET_S, Progress, and_bytes
from service.concurrency.context import Context, background, with_cancel
from service.errors import ClientClosedRequest, InvalidInput
from tests.core.leaks import snapshot

NAMES = st.binary(min_size=1, max_size=12).filter(lambda name: not {b"/", b"\0"} & {bytes([b]) for b in name})


@contextmanager
def no_leaks() -> Iterator[None]:
    """No thread and no descriptor is left by the block."""
    before = snapshot()
    yield
    assert before.left_behind() == []


def digests(
    folder: Path, files: Iterable[File] | None = None, *, jobs: int = 2, ctx: Context | None = None, algorithm: str = "sha256"
) -> tuple[list[Digest], Report]:
    """Of the whole folder unless `files` are given."""
    report = Report()
    found = walk(bytes(folder), frozenset(), report) if files is None else files
    done = digest_files(
        ctx or background(), bytes(folder), found, report, algorithm=algorithm, jobs=jobs, progress=lambda *_: None
    )
    return done, report


@pytest.mark.parametrize("algorithm", list(ALGORITHMS))
@pytest.mark.parametrize("jobs", [1, 5])
def test_every_file_has_its_digest_in_the_order_of_names(tmp_path: Path, algorithm: str, jobs: int) -> None:
    """Around the buffer's size too, in folders below, and with many batches."""
    sizes = [0, 1, 2047, 2048, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 3 * BUFFER_BYTES, *range(300)]
    (tmp_path / "b" / "c").mkdir(parents=True)
    contents = {f"{'b/c/' if n % 2 else ''}{n}": os.urandom(size) for n, size in enumerate(sizes)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    done, report = digests(tmp_path, jobs=jobs, algorithm=algorithm)
    assert done == [
        Digest(name.encode(), hashlib.new(algorithm, content).hexdigest(), len(content))
        for name, content in sorted(contents.items())
    ]
    assert (report.problems, report.found_bytes) == ([], sum(sizes))


def test_what_is_no_regular_file_is_told_and_never_opened(tmp_path: Path) -> None:
    """A FIFO that is opened would hang; a link that is followed could lead anywhere, or round and round."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "file").write_bytes(b"x")
    done, report = digests(tmp_path)
    assert [digest.name for digest in done] == [b"file"]
    assert report.problems == [(b"pipe", "is a FIFO; only regular files have a digest")]
    assert report.links == 1


def test_a_file_that_vanishes_or_becomes_another_thing_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """Between the walk and the reader; the others go on."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"x")
    done, report = digests(tmp_path, [File(name, 1) for name in (b"pipe", b"gone", b"link", b"file")])
    assert [digest.name for digest in done] == [b"file"]
    assert report.problems == [
        (b"gone", "cannot be read: No such file or directory"),
        (b"link", "cannot be read: Too many levels of symbolic links"),
        (b"pipe", "is a FIFO; only regular files have a digest"),
    ]


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
def test_a_file_that_changes_while_it_is_read_has_no_digest(tmp_path: Path, change: str) -> None:
    """It would be the digest of a content that the file never had."""
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * BUFFER_BYTES))
    os.utime(path, ns=(0, 0))
    report = Report()

    def disturb(_files: int, _size: int) -> None:
        if change == "grow":
            os.truncate(path, 5 * BUFFER_BYTES)
        elif change == "shrink":
            os.truncate(path, 2 * BUFFER_BYTES)
        else:
            with path.open("r+b") as file:
                file.write(b"x")

    files = [File(b"file", 3 * BUFFER_BYTES)]
    done = digest_files(background(), bytes(tmp_path), files, report, algorithm="md5", jobs=1, progress=disturb)
    assert (done, report.problems) == ([], [(b"file", "changed while it was read")])


def test_a_cancelled_run_ends_in_the_middle_of_a_file(tmp_path: Path) -> None:
    """With its error, and no thread and no descriptor left."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 40)  # a tebibyte of nothing: it would take an hour
    with no_leaks(), with_cancel(background()) as ctx, pytest.raises(ClientClosedRequest):
        digest_files(
            ctx, bytes(tmp_path), [File(b"large", 1 << 40)], Report(), algorithm="sha256", jobs=2,
            progress=lambda *_: ctx.cancel(),
        )


def test_an_error_of_the_source_ends_the_run(tmp_path: Path) -> None:
    """A folder that is not there."""
    with no_leaks(), pytest.raises(InvalidInput, match=r"cannot list the folder .*none: No such file or directory"):
        digests(tmp_path / "none")


def test_the_manifest_is_none_of_the_files(tmp_path: Path) -> None:
    """By its device and inode, whatever it is called."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"")
    status = (tmp_path / "b").stat()
    found = walk(bytes(tmp_path), frozenset({(status.st_dev, status.st_ino)}), Report())
    assert [file.name for file in found] == [b"a"]


def test_names_of_a_manifest_are_looked_up(tmp_path: Path) -> None:
    """A folder and a missing file are problems."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    report = Report()
    assert list(look_up(bytes(tmp_path), [b"folder", b"none", b"file"], report)) == [File(b"file", 1)]
    assert [name for name, _ in report.problems] == [b"folder", b"none"]


def test_a_name_behind_a_link_is_not_looked_up(tmp_path: Path) -> None:
    """It would lead out of the folder; names of the same folder without a link count."""
    folder = tmp_path / "folder"
    (folder / "real" / "below").mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"x")
    (folder / "real" / "below" / "file").write_bytes(b"x")
    (folder / "real" / "out").symlink_to(tmp_path)
    (tmp_path / "way").symlink_to(folder)
    names = [b"real/below/file", b"real/out/secret", b"real/out/folder/real/below/file"]
    for way in (folder, tmp_path / "way"):  # the folder itself may be reached by a link: it was asked for
        report = Report()
        assert list(look_up(bytes(way), names, report)) == [File(b"real/below/file", 1)]
        told = "is reached through a symbolic link, real/out, which is not followed"
        assert report.problems == [(names[1], told), (names[2], told)]


@given(st.dictionaries(NAMES, st.binary(max_size=3), max_size=8))
def test_a_manifest_is_read_as_it_was_written(contents: dict[bytes, bytes]) -> None:
    """Whatever bytes are in the names."""
    contents = {name: content for name, content in contents.items() if name not in (b".", b"..")}
    written = [Digest(name, hashlib.sha256(content).hexdigest(), 0) for name, content in sorted(contents.items())]
    entries, bad = read_lines(write_lines(written), "sha256")
    assert bad == []
    assert [(entry.name, entry.value) for entry in entries.values()] == [(each.name, each.value) for each in written]


HEX = b"d41d8cd98f00b204e9800998ecf8427e"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"what is this", "expected 32 hexadecimal digits (md5), two spaces and a name"),
        (HEX[:-1] + b"  a", "expected 32 hexadecimal digits"),
        (HEX + b" a", "two spaces"),
        (HEX + b"  ", "and a name"),
        (b"\\" + HEX + b"  a\\t", "expected \\\\, \\n or \\r after the first backslash, not \\t"),
        (b"\\" + HEX + b"  a\\", "after the first backslash"),
        (HEX + b"  /etc/passwd", "expected the name of a file below the folder, not /etc/passwd"),
        (HEX + b"  a/../../b", "below the folder, not a/../../b"),
        (HEX + b"  link/../b", "below the folder, not link/../b"),
        (HEX + b"  a/..", "below the folder, not a/.."),
        (HEX + b"  .", "below the folder"),
        (HEX + b"  a\0b", "below the folder, not a\\x00b"),
        (HEX + b"  ./first", "first was in line 1 before"),
    ],
)
def test_a_malformed_line_is_named_by_its_number(line: bytes, expected: str) -> None:
    """And what it should be; the other lines count."""
    entries, bad = read_lines(HEX + b"  first\n# a word\n" + line + b"\n" + HEX.upper() + b" *./last\n", "md5")
    assert set(entries) == {b"first", b"last"}
    assert [each.number for each in bad] == [3]
    assert expected in bad[0].text


def test_a_name_is_shown_on_one_line() -> None:
    """Without anything that a terminal would obey."""
    assert show(b"a\nb\\\xff\x1b[1m\xc3\xa4") == "a\\nb\\\\\\xff\\x1b[1mä"


class Terminal(io.StringIO):
    """One that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def turning(*times: float) -> Iterator[float]:
    """A clock's readings; the last one stays."""
    yield from times
    while True:
        yield times[-1]


def test_a_bar_is_drawn_for_long_work_on_a_terminal() -> None:
    """After a while, not each time, and it is taken away at the end."""
    out, readings = Terminal(), turning(0.0, QUIET_S - 0.1, QUIET_S, QUIET_S, QUIET_S + EVERY_S / 2)
    bar = Progress(lambda: 4_000_000, out, lambda: next(readings), show=and_bytes("files"))
    for _ in range(3):
        bar.add(1, 1_000_000)
    bar.clear()
    assert out.getvalue().count("%") == 1
    assert "]  50% 2 files, 2 MB" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[K")


def test_no_bar_is_drawn_elsewhere_or_for_short_work() -> None:
    """Into a file, or within the first seconds."""
    file, terminal = io.StringIO(), Terminal()
    for out, now in ((file, 0.0), (terminal, 0.0), (file, 99.0)):
        readings = turning(0.0, now)
        bar = Progress(lambda: 1, out, lambda readings=readings: next(readings), show=and_bytes("files"))  # type: ignore[misc]
        bar.add(1, 1)
        bar.clear()
    assert (file.getvalue(), terminal.getvalue()) == ("", "")


def test_the_command_loads_nothing_but_the_core_and_the_standard_library(tmp_path: Path) -> None:
    """It runs on a host where nothing is installed, and starts in the time of its own imports."""
    check = (
        "import sys; from service.cli import main; status = main(['digest', sys.argv[1]]);"
        " others = sorted({m.split('.')[0] for m in sys.modules} - {*sys.stdlib_module_names, 'service', '__main__'});"
        " parts = sorted({m.split('.')[1] for m in sys.modules if m.startswith('service.')});"
        " print(others, parts); sys.exit(status)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-S", "-c", check, tmp_path], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[] ['audit', 'cli', 'commands', 'concurrency', 'errors']\n"
