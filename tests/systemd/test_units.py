"""The unit files by themselves: systemd's own checks of their form and of their sandbox. Boots nothing."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serving import ROOT

UNITS = ROOT / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
WITHOUT_NETWORK = 0.3
WITH_NETWORK = 1.0
WITH_EVERYBODY = 1.1
EXTERNAL = ("ledgerd@.service", "ledgerd-migrate@.service", "ledgerd-grpc.service")
NETWORKED = {"ledgerd-grpc.service": WITH_NETWORK, "ledgerd-dispatcher.service": WITH_EVERYBODY}  # no socket is passed in


@pytest.fixture(autouse=True)
def systemd_analyze() -> None:
    """Without the program there is no verdict, and that is no success."""
    assert shutil.which("systemd-analyze"), "systemd-analyze is missing, so the units are not checked: apt install systemd"


@pytest.fixture
def unit_folder(tmp_path: Path) -> Path:
    """The units as on a host, with programs that exist, since systemd-analyze looks for each."""
    for path in UNITS.iterdir():
        text = re.sub(r"/opt/ledgerd/\S+", "/bin/true", path.read_text())
        (tmp_path / path.name).write_text(text)
    return tmp_path


def exposure(folder: Path, unit: str) -> float:
    """What `systemd-analyze security` makes of a unit file: 0 is no exposure, 10 is all."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", folder / unit],
        capture_output=True, text=True, check=False, env={"SYSTEMD_UNIT_PATH": f"{folder}:", "PATH": "/usr/bin:/bin"},
    )
    match = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert match, done.stdout + done.stderr
    return float(match[1])


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_is_hardly_exposed(unit: str, unit_folder: Path) -> None:
    """Hardly one needs a network: the socket is passed in, and PostgreSQL is reached by a Unix socket."""
    assert exposure(unit_folder, unit) <= NETWORKED.get(unit, WITHOUT_NETWORK)


@pytest.mark.parametrize("unit", EXTERNAL)
def test_a_unit_with_an_external_database_is_little_exposed(unit: str, unit_folder: Path) -> None:
    """The drop-in for PostgreSQL over TCP opens the network to that one address alone."""
    template = (ROOT / "deploy" / "external-database.conf").read_text()
    drop_in = template.replace("IPAddressAllow=\n", "IPAddressAllow=192.0.2.7\n")
    assert drop_in != template
    with open(unit_folder / unit, "a") as file:  # as systemd reads it: the drop-in last
        file.write("\n" + drop_in)
    assert WITHOUT_NETWORK < exposure(unit_folder, unit) <= WITH_NETWORK


def test_systemd_reads_every_line(unit_folder: Path) -> None:
    """`systemd-analyze verify` has nothing to say: no unknown setting, no dependency on a unit that does not exist."""
    names = [unit_folder / p.name.replace("@", "@blue") for p in UNITS.iterdir() if p.suffix != ".sysusers"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names],
        capture_output=True, text=True, check=False, env={"SYSTEMD_UNIT_PATH": f"{unit_folder}:", "PATH": "/usr/bin:/bin"},
    )
    said = [line for line in done.stderr.splitlines() if "ledgerd" in line]
    assert (done.returncode, said) == (0, [])


def test_each_time_out_leaves_room_for_the_one_inside_it() -> None:
    """An idle connection at nginx < here < requests in flight at a stop < systemd's patience: none cuts another off."""
    from service.server.gunicorn import KEEPALIVE_S

    unit = (UNITS / "ledgerd@.service").read_text()
    settings = (ROOT / "deploy" / "env.example").read_text()
    upstream = re.search(r"upstream ledgerd \{.*?\}", (ROOT / "deploy" / "nginx" / "ledgerd.conf").read_text(), re.DOTALL)
    assert upstream
    graceful = number(r"LEDGERD_SHUTDOWN_TIMEOUT_S=(\d+)", settings)
    proxy = number(r" *keepalive_timeout (\d+)s", upstream[0])
    assert proxy < KEEPALIVE_S < graceful < number(r"TimeoutStopSec=(\d+)", unit)


def number(pattern: str, text: str) -> int:
    """The number that the pattern finds at the beginning of a line."""
    match = re.search("^" + pattern, text, re.MULTILINE)
    assert match, pattern
    return int(match[1])


@pytest.mark.parametrize("unit", SERVICES)
def test_no_unit_starts_the_embedded_database(unit: str) -> None:
    """It runs where it is enabled; with another database nothing may bring it back."""
    needs = re.findall(r"^(?:Wants|Requires|BindsTo|Upholds)=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)
    assert "ledgerd-postgres.service" not in " ".join(needs).split()
