"""How much of its host the embedded PostgreSQL takes: memory for its buffers, disk for its log."""

from __future__ import annotations

import shutil
from pathlib import Path

from service.control_group import usable_memory

_MEBIBYTE = 1 << 20
_LEAST_BUFFERS, _MOST_BUFFERS = 128, 4096  # MiB
_LEAST_LOG, _MOST_LOG = 2048, 16384  # MiB
_PART_OF_THE_MEMORY = 8  # the workers, and the kernel's cache of the same files, want theirs
_PART_OF_THE_DISK = 16


def shared_buffers_mib(memory: int) -> int:
    """An eighth of `memory` bytes, from 128 MiB to 4 GiB."""
    return _within(memory // _PART_OF_THE_MEMORY, _LEAST_BUFFERS, _MOST_BUFFERS)


def max_wal_size_mib(disk: int) -> int:
    """A sixteenth of a disk of `disk` bytes, from 2 to 16 GiB."""
    return _within(disk // _PART_OF_THE_DISK, _LEAST_LOG, _MOST_LOG)


def settings_for(folder: Path) -> str:
    """Lines of postgresql.conf for a cluster in `folder`, on this host."""
    buffers, log = shared_buffers_mib(usable_memory()), max_wal_size_mib(shutil.disk_usage(folder).total)
    return f"shared_buffers = '{buffers}MB'\nmax_wal_size = '{log}MB'\n"


def _within(number: int, least: int, most: int) -> int:
    return min(max(number // _MEBIBYTE, least), most)
