"""The file that `ledgerd export -o` and `ledgerd digest -o` write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.commands.output import output
from service.errors import ConfigurationError
from tests.core.leaks import snapshot


def write(path: Path, content: bytes = b"new") -> None:
    """All of it at once."""
    with output(str(path)) as file:
        file.write(content)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """In the block, this is the mask."""
    before = os.umask(mask)
    try:
        yield
        assert os.umask(mask) == mask
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    """Its permissions."""
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_is_as_private_as_it_was_and_a_new_one_as_the_mask_says(tmp_path: Path, mask: int) -> None:
    """An export may hold what others are not to read."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"a longer one")
    with umask(mask):
        for permissions in (0o600, 0o664):
            old.chmod(permissions)
            write(old)
            assert (old.read_bytes(), mode(old)) == (b"new", permissions)
        write(new)
    assert (new.read_bytes(), mode(new)) == (b"new", 0o666 & ~mask)
    assert sorted(os.listdir(tmp_path)) == ["new", "old"]


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    """Also where there is no target yet."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    for content in (b"first", b"second"):
        write(tmp_path / "link", content)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "folder" / "file").read_bytes() == content
    assert os.listdir(tmp_path / "folder") == ["file"]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """And for ever where the block fails; nothing is left beside it then."""
    file, before = tmp_path / "file", snapshot()
    file.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), output(str(file)) as out:
        out.write(b"half")
        out.flush()
        assert file.read_bytes() == b"old"
        raise KeyboardInterrupt
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"old", ["file"])
    assert before.left_behind() == []


def test_a_fifo_is_written_into_and_stays(tmp_path: Path) -> None:
    """Whoever reads it gets what is written."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reads = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(pipe)
        assert os.read(reads, 100) == b"new"
    finally:
        os.close(reads)
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_device_is_written_into_and_stays(tmp_path: Path) -> None:
    """One of the test's own, so that no other is harmed where this fails; what it says is told."""
    null, full = tmp_path / "null", tmp_path / "full"
    try:
        os.mknod(null, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(full, 0o600 | stat.S_IFCHR, os.makedev(1, 7))
        open(null, "wb").close()
    except PermissionError:
        pytest.skip("making a device, and opening it there, needs root's rights")
    write(null)
    with pytest.raises(ConfigurationError, match="full cannot be written: No space left on device"):
        write(full)
    assert null.is_char_device()
    assert full.is_char_device()
    assert sorted(os.listdir(tmp_path)) == ["full", "null"]


def test_a_pipe_is_reached_by_the_name_of_its_descriptor(tmp_path: Path) -> None:
    """As /dev/stdout is, which leads to a name that nothing has."""
    reads, writes = os.pipe()
    try:
        write(Path(f"/proc/self/fd/{writes}"))
        assert os.read(reads, 100) == b"new"
    finally:
        os.close(reads)
        os.close(writes)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder", "Is a directory"),
        ("none/file", "No such file or directory"),
        ("x" * 256, "File name too long"),
        ("round", "Too many levels of symbolic links"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, name: str, reason: str) -> None:
    """By its name as it was given, and nothing is left."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(ConfigurationError) as raised:
        write(tmp_path / name)
    assert raised.value.problems == (f"{tmp_path / name} cannot be written: {reason}",)
    assert sorted(os.listdir(tmp_path)) == ["folder", "round"]


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    """What it is called until it is whole is no longer."""
    write(tmp_path / ("x" * 255))
    assert os.listdir(tmp_path) == ["x" * 255]
