"""Versions to release: one bundle is made as the docs say, and others are cut from it by changing files in its wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.serving import ROOT

Change = Callable[[str], str]


def make_bundle(folder: Path, *options: str) -> Path:
    """The bundle of this checkout, by deploy/bundle."""
    done = subprocess.run(
        [sys.executable, ROOT / "deploy" / "bundle", "--output", folder, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def cut_version(bundle: Path, target: Path, version: str, changes: Mapping[str, Change] | None = None) -> Path:
    """A bundle like `bundle` under `target`, of another version, with `changes` made to files of the wheel.

    A change of a file that is not there gets an empty text and makes the file.
    """
    made = target / f"ledgerd-{version}"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(bundle, made, copy_function=_link)
    (wheel,) = made.glob("wheels/ledgerd-*.whl")
    old = wheel.name.split("-")[1]
    _rewrite(wheel, wheel.with_name(wheel.name.replace(old, version)), old, version, dict(changes or {}))
    wheel.unlink()
    (made / "SHA256SUMS").unlink()
    files = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    sums = subprocess.run(["sha256sum", "--", *files], cwd=made, check=True, capture_output=True).stdout
    (made / "SHA256SUMS").write_bytes(sums)
    return made


def _link(source: str, target: str) -> None:
    """Twenty versions share the files that they have in common."""
    Path(target).hardlink_to(source)


def _rewrite(source: Path, target: Path, old: str, new: str, changes: dict[str, Change]) -> None:
    changes["service/__init__.py"] = lambda text: text.replace(f'"{old}"', f'"{new}"')
    changes[f"ledgerd-{old}.dist-info/METADATA"] = lambda text: text.replace(f"\nVersion: {old}\n", f"\nVersion: {new}\n")
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as write:
        record = f"ledgerd-{old}.dist-info/RECORD"
        names = [name for name in read.namelist() if name != record]
        for name in names:
            content = read.read(name)
            if name in changes:
                text = content.decode()
                content = changes.pop(name)(text).encode()
                assert content.decode() != text, f"{name} has nothing to change"
            write.writestr(name.replace(f"ledgerd-{old}.dist-info", f"ledgerd-{new}.dist-info"), content)
        for name, change in changes.items():
            write.writestr(name, change(""))
        listed = "".join(f"{name},,\n" for name in (*names, *changes, record))
        write.writestr(f"ledgerd-{new}.dist-info/RECORD", listed.replace(f"ledgerd-{old}.", f"ledgerd-{new}."))
