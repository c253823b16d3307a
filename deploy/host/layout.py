"""Where ledgerd is on a host, and which of the two instances is live."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OPT = Path("/opt/ledgerd")
RELEASES = OPT / "releases"
LIVE = OPT / "live"  # leads to `blue` or `green`: the one place that says which is live
POSTGRES = OPT / "postgres"  # the release that the embedded database runs from; a release does not move it
ETC = Path("/etc/ledgerd")
SETTINGS = ETC / "ledgerd.env"
DATABASE_URL = ETC / "database_url"
STATE = Path("/var/lib/ledgerd")
RUN = Path("/run/ledgerd")  # what running instances share; gone after a reboot
UNITS = Path("/etc/systemd/system")
SYSUSERS = Path("/etc/sysusers.d/ledgerd.conf")
COMMAND = Path("/usr/local/bin/ledgerd")

COLOURS = ("blue", "green")
USER = "ledgerd"
EMBEDDED_URL = f"postgresql://ledgerd@/ledgerd?host={STATE}/socket"


class Refused(Exception):
    """Why a tool cannot go on, in a sentence for the operator; a second one may say what to do."""


def live_colour() -> str | None:
    """The colour that `live` leads to; None on a host without one."""
    return LIVE.readlink().name if LIVE.is_symlink() else None


def other_colour(colour: str) -> str:
    """The one that `colour` is not."""
    return COLOURS[1 - COLOURS.index(colour)]


def release_of(link: Path) -> Path | None:
    """The release folder that a link leads to, None when it leads nowhere."""
    return link.resolve() if link.exists() else None


def point(link: Path, target: str | Path) -> None:
    """Make `link` lead to `target`; whoever looks meanwhile sees the old target or the new one."""
    new = link.with_name(link.name + ".new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def write_file(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file as a whole, owned by root; whoever reads meanwhile sees the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(content)
    new.chmod(mode)
    new.replace(path)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold the host's lock: two tools at once would undo each other's work. Raises Refused when another one runs."""
    OPT.mkdir(parents=True, exist_ok=True)
    with open(OPT / ".lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another install, release, rollback or uninstall runs on this host; wait for its end") from None
        yield
