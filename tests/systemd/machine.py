"""A Debian with systemd as its first process, booted by systemd-nspawn out of a tree that debootstrap makes once.

It shares this machine's loopback, so what listens there can be asked from here. The tree is kept under /var/cache; each
machine works on a copy, which goes with it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.serving import children, wait_until

CACHE = Path("/var/cache/ledgerd")
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,procps,nginx-light,openssl"
BOOT_TIMEOUT_S = 60
END_TIMEOUT_S = 30  # for the last processes to go
_PR_SET_PDEATHSIG = 1


def missing() -> str | None:
    """Why no machine can be booted here, in a sentence; None when nothing is known to be in the way."""
    if os.geteuid() != 0:
        return "only root can boot a machine"
    for program, package in (("systemd-nspawn", "systemd-container"), ("debootstrap", "debootstrap")):
        if shutil.which(program) is None:
            return f"{program} is not installed: apt install {package}"
    return None


def codename() -> str:
    """The Debian release of this machine: the booted one is the same, so that it has the Python that the wheels are for."""
    lines = dict(line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines())
    return lines.get("VERSION_CODENAME", "bookworm").strip('"')


def tree() -> Path:
    """The Debian tree, made by debootstrap when it is not there yet (about a minute, 320 MB)."""
    made = CACHE / codename()
    if not made.exists():
        partial = CACHE / f"{codename()}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", codename(), str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"debootstrap failed:\n{done.stdout[-2000:]}"
        partial.rename(made)
    return made


class Machine:
    """One booted machine; leave it with `stop`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ledgerd-machine-"))
        self.folder.chmod(0o755)  # ledgerd's user reaches its database through it
        self.root = self.folder / "root"
        self._console = self.folder / "console.log"
        self._cgroups: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def boot(self) -> Machine:
        """Return when systemd has started everything. Raises AssertionError with the console's last lines."""
        subprocess.run(["cp", "-a", "--reflink=auto", str(tree()), str(self.root)], check=True)
        (self.root / "etc/systemd/system/multi-user.target.wants/nginx.service").unlink(missing_ok=True)
        self._cgroups = own_cgroups(self.folder.name)
        command = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe",
                   "--machine=ledgerd-test", f"--directory={self.root}"]
        with open(self._console, "wb") as console:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                preexec_fn=self._enter,  # noqa: PLW1509  # no thread runs yet
            )
        wait_until(self._is_up, BOOT_TIMEOUT_S, lambda: f"it did not boot:\n{self._console.read_text()[-3000:]}")
        return self

    def run(self, *command: str, check: bool = True, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a program in the machine as root. Raises AssertionError with its output when it fails and `check` is set."""
        done = subprocess.run(self.command(*command), capture_output=True, text=True, check=False, timeout=timeout_s)
        if check:
            assert done.returncode == 0, f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def command(self, *command: str) -> list[str]:
        """The command that runs a program in the machine."""
        inside = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        return [*inside, *clean, *command]

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).stdout.strip()

    def is_active(self, unit: str) -> bool:
        """Whether a unit runs."""
        return self.run("systemctl", "is-active", "--quiet", unit, check=False).returncode == 0

    def main_pid(self, unit: str) -> int:
        """The number of a unit's main process, inside the machine."""
        return int(self.show(unit, "MainPID"))

    def kill(self, number: signal.Signals, pid: int) -> None:
        """Send a signal to a process, by its number inside the machine."""
        self.run("kill", f"-{number.name.removeprefix('SIG')}", str(pid))

    def journal(self, unit: str, lines: int = 60) -> str:
        """The end of a unit's journal."""
        return self.run("journalctl", "--unit", unit, f"--lines={lines}", "--no-pager").stdout

    def stop(self) -> None:
        """Shut it down, and remove its folder."""
        try:
            if self._process is not None and self._process.poll() is None:
                self.run("systemctl", "poweroff", check=False)
                try:
                    self._process.wait(BOOT_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    os.kill(self._leader, signal.SIGKILL)  # the kernel ends with it whatever it has started
                    self._process.wait()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
            wait_until(lambda: all(removed(folder) for folder in self._cgroups), END_TIMEOUT_S, lambda: "processes are left")

    def _enter(self) -> None:
        """In the new process: into its own control groups, and down with whoever started it."""
        for folder in self._cgroups:
            (folder / "cgroup.procs").write_text(str(os.getpid()))
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"systemd-nspawn ended:\n{self._console.read_text()[-3000:]}"
        self._leader = next(iter(children(self._process.pid)), 0)
        if not self._leader:
            return False
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        assert state != "degraded", self.run("systemctl", "--failed", check=False).stdout
        return state == "running"

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *exc: Any) -> None:
        self.stop()


def own_cgroups(name: str) -> list[Path]:
    """Control groups of that name below ours, in the hierarchies in which systemd keeps its units: two machines may run."""
    made = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount = Path("/sys/fs/cgroup/unified")
            mount = mount if mount.is_dir() else mount.parent
        elif controllers == "name=systemd":
            mount = Path("/sys/fs/cgroup/systemd")
        else:
            continue
        folder = mount / path.lstrip("/") / name
        folder.mkdir()
        made.append(folder)
    return made


def removed(folder: Path) -> bool:
    """Remove a control group and those below it; false while a process is still in one of them."""
    try:
        for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            inner.rmdir()
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def main() -> int:
    """Boot a machine and stop it again: 0 when this works here, else 1 and the reason on standard output."""
    if reason := missing():
        print(reason)
        return 1
    try:
        with Machine() as machine:
            machine.boot()
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        print(error)
        return 1
    return 0


def when(condition: Callable[[], Any], timeout_s: float, what: str) -> None:
    """Return once `condition` holds. Raises AssertionError that says `what` did not come."""
    wait_until(condition, timeout_s, lambda: f"not within {timeout_s} s: {what}")


if __name__ == "__main__":
    sys.exit(main())
