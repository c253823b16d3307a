"""ledgerd on a booted machine, installed and changed by the tools in deploy/ as an operator would."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.client import HttpClient
from tests.serving import free_port, http_status
from tests.systemd.machine import Machine, when

WEB = "ledgerd@{}.service"
UPLOADS = Path("/root/bundles")


class Installed:
    """One installation."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.port = free_port()
        self.token = ""

    def install(self, bundle: Path, *options: str) -> Installed:
        """Run deploy/install of a bundle, and make a key."""
        self.upload(bundle)
        self.tool(bundle, "install", "--listen", f"127.0.0.1:{self.port}", *options)
        self.token = self.machine.run("ledgerd", "key", "create", "--ledger", "main", "--scopes", "admin").stdout.strip()
        return self

    def upload(self, bundle: Path) -> None:
        """Copy a bundle onto the machine."""
        target = self.machine.root / str(UPLOADS / bundle.name).lstrip("/")
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(bundle, target)

    def tool(self, bundle: Path, name: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of the tools of an uploaded bundle."""
        return self.machine.run(str(UPLOADS / bundle.name / "deploy" / name), *options, check=check, timeout_s=300)

    def release(self, bundle: Path, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Upload a bundle and run deploy/release."""
        self.upload(bundle)
        done = self.tool(bundle, "release", check=check)
        shutil.rmtree(self.machine.root / str(UPLOADS / bundle.name).lstrip("/"))
        return done

    @property
    def live(self) -> str:
        """The live colour."""
        return os.readlink(self.machine.root / "opt/ledgerd/live")

    @property
    def version(self) -> str:
        """The version that the live colour runs."""
        return Path(os.readlink(self.machine.root / "opt/ledgerd" / self.live)).name

    @property
    def web(self) -> str:
        """The unit of the live instance."""
        return WEB.format(self.live)

    def workers(self) -> list[int]:
        """The process ids of the live instance's workers, inside the machine."""
        done = self.machine.run("pgrep", "-P", str(self.machine.main_pid(self.web)), check=False)
        return [int(line) for line in done.stdout.split()]

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return http_status(f"http://127.0.0.1:{self.port}/readyz") == 200

    def wait_ready(self, timeout_s: float = 60) -> None:
        """Return when the live instance serves with two workers."""
        when(lambda: self.machine.is_active(self.web) and self.is_ready() and len(self.workers()) == 2, timeout_s, "ready")

    def client(self) -> HttpClient:
        """A connection with an admin key."""
        return HttpClient(self.port, self.token)

    def open_accounts(self, count: int) -> list[int]:
        """Accounts without a floor."""
        with closing(self.client()) as client:
            made = [client.call("POST", "/api/accounts", {"asset": "USD/2", "min_balance": None}) for _ in range(count)]
        assert {reply.status for reply in made} == {201}
        return [reply.json["id"] for reply in made]

    @property
    def database_url(self) -> str:
        """The address of its database, seen from outside the machine; connect `as_its_user`."""
        return f"postgresql://ledgerd@/ledgerd?host={self.machine.root}/var/lib/ledgerd/socket"

    @contextmanager
    def as_its_user(self) -> Iterator[None]:
        """Be ledgerd's user of the machine for a while: its PostgreSQL knows whoever connects by that."""
        owner = (self.machine.root / "var/lib/ledgerd").stat()
        os.setegid(owner.st_gid)
        os.seteuid(owner.st_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
