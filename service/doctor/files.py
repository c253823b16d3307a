"""Files, folders and the port: who may read the secrets, what can be written, and who listens already."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import stat
import tempfile
from pathlib import Path

from service.concurrency.context import Context
from service.doctor.examine import Examination, Group, Verdicts
from service.doctor.subject import Subject
from service.doctor.verdict import Verdict, ok, problem, warning
from service.extras import grpc_problems
from service.repository.binaries import packaged_binaries
from service.server.supervisor import embedded

PORT_TIMEOUT_S = 2.0
GROUP_OR_OTHERS = 0o077


def data_dir(_ctx: Context, subject: Subject) -> Verdicts:
    """Where the embedded database and the first key are."""
    config = subject.config
    if config.database_url is not None:
        return ok(f"{config.data_dir} is not used: DATABASE_URL is set")
    there = nearest(config.data_dir)
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        return problem(f"{there} cannot be written by this user", "run as the user who owns it, or set LEDGERD_DATA_DIR")
    if stat.S_IMODE(there.stat().st_mode) & stat.S_IWOTH and not there.stat().st_mode & stat.S_ISVTX:
        return problem(f"{there} can be written by everybody", f"chmod o-w {there}")
    return ok(f"{config.data_dir} can be written" if there == config.data_dir else f"{config.data_dir} can be made")


def embedded_postgres(_ctx: Context, subject: Subject) -> Verdicts:
    """Its programs are there, and the user that runs it can enter its folder."""
    config = subject.config
    if config.database_url is not None:
        return ok("not used: DATABASE_URL is set")
    bin_dir = config.postgres_bin or packaged_binaries()
    if not os.access(bin_dir / "postgres", os.X_OK):
        return problem(f"there is no program {bin_dir / 'postgres'}", "let LEDGERD_POSTGRES_BIN name a PostgreSQL's `bin`")
    embedded(config).check_reachable()
    return ok("its programs are there, and its user can enter the data directory")


def admin_key(_ctx: Context, subject: Subject) -> Verdicts:
    """The first admin key is for the one who runs ledgerd alone."""
    return private(subject.config.data_dir / "admin.key", GROUP_OR_OTHERS)


def credentials(_ctx: Context, subject: Subject) -> Verdicts:
    """Secrets that systemd, or whoever sets CREDENTIALS_DIRECTORY, hands over."""
    folder = subject.env.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return ok("CREDENTIALS_DIRECTORY is not set")
    files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    return [private(path, stat.S_IRWXO) for path in files] or [ok(f"{folder} is empty")]


def run_folder(_ctx: Context, subject: Subject) -> Verdicts:
    """What the workers share (LEDGERD_RUN_DIR), and the temporary folder for their signs of life."""
    for folder, setting in ((nearest(subject.config.run_dir), "LEDGERD_RUN_DIR"), (Path(tempfile.gettempdir()), "TMPDIR")):
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            return problem(f"{folder} cannot be written", f"make it writable for the user of the service, or set {setting}")
    return ok(f"{subject.config.run_dir} and {tempfile.gettempdir()} can be written")


def port(_ctx: Context, subject: Subject) -> Verdicts:
    """Free, or a ledgerd answers there already."""
    host, _, number = subject.config.bind.rpartition(":")
    if not number.isdecimal():
        return problem(f"{subject.config.bind} is no address", "LEDGERD_BIND is HOST:PORT")
    host, bind = host.strip("[]"), subject.config.bind
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(number)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return problem(f"{bind} cannot be listened on: {error.strerror}", "choose another LEDGERD_BIND")
        else:
            return ok(f"{bind} is free")
    if is_ledgerd(host, int(number)):
        return ok(f"a ledgerd answers on {bind}")
    return problem(f"another program listens on {bind}", "`ss -ltnp` shows which; stop it, or set LEDGERD_BIND")


def grpc(_ctx: Context, subject: Subject) -> Verdicts:
    """What gRPC needs, where it is asked for."""
    bind = subject.config.grpc_bind
    if bind is None:
        return ok("not asked for: LEDGERD_GRPC_BIND is not set")
    if problems := grpc_problems():
        return problem(problems[0], "install it, or unset LEDGERD_GRPC_BIND")
    host, _, number = bind.rpartition(":")
    host = host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(number)))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return ok(f"somebody listens on {bind}: `ledgerd grpc`, or another program (`ss -ltnp` shows which)")
            return problem(f"{bind} cannot be listened on: {error.strerror}", "choose another LEDGERD_GRPC_BIND")
    return ok(f"{bind} is free")


def is_ledgerd(host: str, number: int) -> bool:
    """Whether the one who listens there answers /healthz as ledgerd does."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nosec B104  # compared, not bound
    connection = http.client.HTTPConnection(host, number, timeout=PORT_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status == 200 and answer.read(100) == b'{"status":"ok"}'
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def private(path: Path, too_open: int) -> Verdict:
    """Whether nobody but those who are to may read the secret in `path`."""
    if not path.exists():
        return ok(f"there is no {path}")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & too_open:
        return problem(f"{path} has mode {mode:04o}: others can read a secret", f"chmod 0600 {path}, and take a new secret")
    if not os.access(path, os.R_OK, effective_ids=True):
        return warning(f"{path} cannot be read by this user", "run as the user who owns it")
    return ok(f"{path} has mode {mode:04o}")


def nearest(folder: Path) -> Path:
    """`folder`, or the nearest one above it that exists."""
    return next(present for present in (folder, *folder.parents) if present.is_dir())


GROUP = Group("host", (
    Examination("data directory", data_dir), Examination("embedded PostgreSQL", embedded_postgres),
    Examination("admin key", admin_key), Examination("credentials", credentials), Examination("run folder", run_folder),
    Examination("port", port), Examination("gRPC", grpc),
))  # fmt: skip
