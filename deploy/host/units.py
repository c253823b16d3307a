"""The units on this host: copied from a release, started and stopped by systemctl, asked by HTTP."""

from __future__ import annotations

import filecmp
import http.client
import shutil
from pathlib import Path

from host.bundle import checked, run
from host.layout import COMMAND, SYSUSERS, UNITS, Refused

TARGET, SOCKET, POSTGRES = "ledgerd.target", "ledgerd.socket", "ledgerd-postgres.service"
GRPC = "ledgerd-grpc.service"  # where it is enabled, it follows the live instance
DISPATCHER = "ledgerd-dispatcher.service"  # it follows the live instance
PROBE_TIMEOUT_S = 10
PROBES = 20  # both instances accept on one socket: enough fresh connections that each is asked


def web(colour: str) -> str:
    """The unit of an instance."""
    return f"ledgerd@{colour}.service"


def migration(colour: str) -> str:
    """The unit that migrates for an instance."""
    return f"ledgerd-migrate@{colour}.service"


def systemctl(*arguments: str) -> str:
    """Run systemctl. Raises Refused with what it says."""
    return checked("systemctl", *arguments)


def is_active(unit: str) -> bool:
    """Whether the unit runs."""
    return run("systemctl", "is-active", "--quiet", unit).returncode == 0


def start(unit: str, *, again: bool = False) -> None:
    """Start a unit (`again`: anew), and return when it is ready. Raises Refused with its last words when it is not."""
    done = run("systemctl", "restart" if again else "start", unit)
    if done.returncode != 0:
        state = checked("systemctl", "show", "--property=Result", "--value", unit).strip()
        raise Refused(f"{unit} did not start ({state}). Its last words:\n{last_words(unit)}")


def last_words(unit: str) -> str:
    """The last lines of the unit's journal, indented."""
    said = run("journalctl", "--unit", unit, "--lines=12", "--no-pager", "--output=cat").stdout.splitlines()
    return "\n".join(f"    {line}" for line in said) or "    (none; see journalctl)"


def copy_files(release: Path) -> None:
    """Copy the units, the user and the command of a release to their places, and let systemd read them."""
    for source in sorted((release / "systemd").iterdir()):
        _copy(source, SYSUSERS if source.suffix == ".sysusers" else UNITS / source.name)
    _copy(release / "deploy" / "ledgerd", COMMAND, 0o755)
    checked("systemd-sysusers", str(SYSUSERS))
    systemctl("daemon-reload")


def _copy(source: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_file() and filecmp.cmp(source, target, shallow=False):
        return
    new = target.with_name(target.name + ".new")
    shutil.copy(source, new)
    new.chmod(mode)
    new.replace(target)


def probe() -> None:
    """Ask /readyz on fresh connections. Raises Refused unless every answer is 200."""
    address = checked("systemctl", "show", "--property=Listen", "--value", SOCKET).split()[0]
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))  # noqa: S104  # nosec B104  # compared, not bound
    for _ in range(PROBES):
        connection = http.client.HTTPConnection(host, int(port), timeout=PROBE_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz", headers={"Connection": "close"})
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as exc:
            raise Refused(f"GET http://{address}/readyz got no answer: {exc!r}") from exc
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(f"GET http://{address}/readyz answered {answer.status}: {text}")
