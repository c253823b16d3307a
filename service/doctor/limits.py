"""What may run out: connections, descriptors, disk, memory, processes."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

from service.concurrency.context import Context
from service.config import MOST_CONNECTIONS
from service.control_group import least_limit, memory_limit
from service.doctor.examine import Examination, Group, Verdicts
from service.doctor.files import nearest
from service.doctor.replication import MEBIBYTE, shown
from service.doctor.subject import Subject
from service.doctor.transactions import EXAMINATIONS
from service.doctor.verdict import Verdict, ok, problem, warning
from service.repository.connect import DEFAULTS
from service.server.supervisor import SPARE_CONNECTIONS, too_many_connections

INSTANCES = 2  # during a release or a reload the old and the new one hold their pools at once
SPARE_DESCRIPTORS = 64  # libraries, logs, pipes, the loop's own
ENOUGH_FREE, LEAST_FREE = 0.20, 0.05  # of a disk
LEAST_FREE_BYTES = 512 * MEBIBYTE
LEAST_SHARED_BYTES = 16 * MEBIBYTE
WORKER_BYTES, DATABASE_BYTES = 128 * MEBIBYTE, 512 * MEBIBYTE
WORKER_TASKS = 12  # itself and its threads: the resolver's, and those of the driver


def connections(ctx: Context, subject: Subject) -> Verdicts:
    """The pools of all workers against what the server grants to this role in this database."""
    config = subject.config
    row = subject.database.row(ctx, "connections", mine=DEFAULTS["application_name"])
    if config.connections > row.granted:
        return problem(too_many_connections(config, row.granted), "see docs/operations.md, Sizing")
    free = row.granted - row.others
    text = f"{config.connections} wanted, {row.granted} granted, {row.others} taken by others"
    if config.connections > free:
        return warning(text, "the others leave too few: raise max_connections, or lower LEDGERD_DB_MAX_OPEN")
    if INSTANCES * config.connections > free and config.database_url is not None:
        return warning(
            f"{text}: not enough for two instances",
            f"a release or a reload holds {INSTANCES * config.connections} for a moment: raise max_connections, or lower"
            " LEDGERD_DB_MAX_OPEN",
        )
    return ok(text)


def descriptors(_ctx: Context, subject: Subject) -> Verdicts:
    """A worker needs one for each client and each database connection, and one more for each WebSocket."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = MOST_CONNECTIONS + subject.config.live_clients + subject.config.db_max_open + SPARE_DESCRIPTORS
    if 0 <= soft < needed:
        return warning(
            f"{soft} open files are allowed here; a worker with {MOST_CONNECTIONS} clients needs {needed}",
            "ulimit -n 65536 in the shell that starts it; the units have LimitNOFILE=65536",
        )
    return ok(f"{'any number of' if soft < 0 else soft} open files are allowed here; a worker needs up to {needed}")


def disk(_ctx: Context, subject: Subject) -> Verdicts:
    """PostgreSQL stops when its disk is full."""
    folder = nearest(subject.config.data_dir)
    usage, files = shutil.disk_usage(folder), os.statvfs(folder)
    if files.f_files and files.f_favail / files.f_files < LEAST_FREE:
        return problem(f"only {files.f_favail} more files can be made at {folder}", "remove files, or enlarge the disk")
    return judge_disk(folder, usage.free, usage.total)


def judge_disk(folder: Path, free_bytes: int, all_bytes: int) -> Verdict:
    """What to think of what is left of a disk."""
    free = free_bytes / all_bytes
    text = f"{shown(free_bytes)} ({free:.0%}) free at {folder}"
    if free < LEAST_FREE or free_bytes < LEAST_FREE_BYTES:
        return problem(text, "enlarge the disk, now: PostgreSQL stops when it is full")
    return warning(text, "enlarge the disk in time") if free < ENOUGH_FREE else ok(text)


def shared_memory(_ctx: Context, subject: Subject) -> Verdicts:
    """PostgreSQL on this host shares memory between its processes there."""
    try:
        free = shutil.disk_usage(subject.shared_memory).free
    except OSError as error:
        return warning(f"{subject.shared_memory} cannot be looked at: {error.strerror}", "mount a tmpfs there")
    text = f"{shown(free)} free at {subject.shared_memory}"
    if free < LEAST_SHARED_BYTES:
        return warning(text, "in a container: --shm-size=256m")
    return ok(text)


def tasks(_ctx: Context, subject: Subject) -> Verdicts:
    """Processes and threads that the control group allows (systemd's TasksMax=)."""
    limit = least_limit(subject.processes, subject.control_groups, second="pids.max", first=("pids", "pids.max"))
    config = subject.config
    needed = INSTANCES * WORKER_TASKS * config.workers
    if config.database_url is None:
        needed += config.connections + SPARE_CONNECTIONS  # PostgreSQL has a process for each
    if limit is None:
        return ok("no limit of the control group is to be seen here")
    if limit < needed:
        return warning(f"{limit} processes and threads are allowed here; up to {needed} may run", f"TasksMax={2 * needed}")
    return ok(f"{limit} processes and threads are allowed here; up to {needed} may run")


def memory(_ctx: Context, subject: Subject) -> Verdicts:
    """Memory that the control group allows (systemd's MemoryMax=)."""
    limit = memory_limit(subject.processes, subject.control_groups)
    needed = subject.config.workers * WORKER_BYTES + (DATABASE_BYTES if subject.config.database_url is None else 0)
    if limit is None:
        return ok("no limit of the control group is to be seen here")
    text = f"{shown(limit)} are allowed here; {subject.config.workers} workers want about {shown(needed)}"
    return warning(text, "raise MemoryMax=, or lower LEDGERD_WORKERS") if limit < needed else ok(text)


GROUP = Group("limits", (
    Examination("connections", connections), Examination("open files", descriptors), Examination("disk", disk),
    Examination("shared memory", shared_memory), Examination("tasks", tasks), Examination("memory", memory), *EXAMINATIONS,
))  # fmt: skip
