"""The file of the buckets: a header, then sets of slots. It is made once a boot, at its full size, and never resized.

Who finds one that is not as it should be (another version, another boot, cut off, of another user) puts a new one in its
place. Only one process at a time does so: it has the lock of the folder, which the kernel takes back if it dies.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from mmap import mmap
from pathlib import Path

from service.concurrency.primitives import Parking
from service.errors import ConfigurationError
from service.limits.folder import make_run_folder, unusable

NAME = "limits"
WAYS = 8  # slots of a set
SLOT_BYTES = 16  # whose it is, and when its bucket is full again
SETS = 8192  # so 65,536 buckets in 1 MiB
HEADER = struct.Struct("=8sIII16s16s")  # magic, version, sets, ways, boot, secret
FIRST_SET = 4096  # bytes; the header has a page
MAGIC, VERSION = b"ledgerd\n", 1
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LOCK_TRIES, LOCK_PAUSE_S = 500, 0.01
_POPULATE_WRITE = 23  # madvise(2): make every page writable now; mmap has no name for it


class BucketFile:
    """The open file, mapped. `secret` keeps clients from choosing names that share a set."""

    def __init__(self, folder: Path, sets: int = SETS) -> None:
        """Open it, or make it. Raises ConfigurationError where that cannot be done, such as on a full disk."""
        self.sets = sets
        self._size = FIRST_SET + sets * WAYS * SLOT_BYTES
        path = make_run_folder(folder) / NAME
        try:
            with _alone_in(folder):
                self.fd = self._open(path)
            self.map = mmap(self.fd, self._size)
            with suppress(OSError):  # EINVAL before Linux 5.14: there the first write to a page may wait, see `table`
                self.map.madvise(_POPULATE_WRITE)
        except OSError as exc:
            raise unusable(folder, exc) from exc
        self.secret: bytes = HEADER.unpack_from(self.map)[-1]

    def close(self) -> None:
        """Let go of it; safe to repeat. The file stays, for the other processes and the next."""
        self.map.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _open(self, path: Path) -> int:
        with suppress(FileNotFoundError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            if self._is_good(fd):
                return fd
            os.close(fd)
        return self._make(path)

    def _is_good(self, fd: int) -> bool:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077 or status.st_size != self._size:
            return False
        *begin, boot, _ = HEADER.unpack(os.pread(fd, HEADER.size, 0))
        mine = _boot()
        return begin == [MAGIC, VERSION, self.sets, WAYS] and (boot == mine or not any(boot) or not any(mine))

    def _make(self, path: Path) -> int:
        fresh = path.with_suffix(".new")
        with suppress(FileNotFoundError):
            fresh.unlink()
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._size)  # a full disk is an error here, and not a signal later
            os.pwrite(fd, HEADER.pack(MAGIC, VERSION, self.sets, WAYS, _boot(), secrets.token_bytes(16)), 0)
            os.rename(fresh, path)
        except BaseException:
            os.close(fd)
            fresh.unlink(missing_ok=True)
            raise
        return fd


def _boot() -> bytes:
    """Which boot of the machine this is, since the clock starts again with each; zeros where the sandbox hides it."""
    try:
        return bytes.fromhex(BOOT_ID.read_text("ascii").strip().replace("-", ""))
    except OSError:
        return bytes(16)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Have the lock of `folder` in the block. Raises OSError, and ConfigurationError where another process keeps it."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                Parking().wait(LOCK_PAUSE_S)
            else:
                break
        else:
            raise ConfigurationError(f"LEDGERD_RUN_DIR={folder}: another process keeps its lock; `fuser {folder}` shows which")
        yield
    finally:
        os.close(fd)
