"""The tools in deploy/ as an operator meets them first: their help, and their refusals. Changes nothing on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT

TOOLS = ("bundle", "install", "release", "rollback", "uninstall")


def run(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a tool by this Python."""
    command = [sys.executable, "-B", ROOT / "deploy" / name, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_explains_itself(name: str) -> None:
    """--help says what it does in a sentence, and needs neither root nor systemd."""
    done = run(name, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: deploy/{name}")
    assert ". " in done.stdout or ".\n" in done.stdout


@pytest.mark.parametrize("name", TOOLS[1:])
def test_a_tool_refuses_a_machine_that_it_is_not_for(name: str) -> None:
    """Without root, or where systemd does not run: status 1, and a line that says what would be right."""
    if os.geteuid() == 0 and Path("/run/systemd/system").is_dir():
        pytest.skip("this machine is one that the tools are for: they would do their work on it")
    done = run(name)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: ")
    assert "sudo deploy/" in done.stderr or "make run" in done.stderr


def test_a_release_that_differs_from_its_digests_is_refused(tmp_path: Path) -> None:
    """By the release's own command: the file is named, and what to do."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "ledgerd"
    command.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m service "$@"\n')
    command.chmod(0o755)
    (tmp_path / "file").write_text("as it was")
    digests = tmp_path / "RELEASE.SHA256SUMS"
    subprocess.run([command, "digest", tmp_path, "-o", digests], check=True)
    check = (
        "import sys; from pathlib import Path; from host.digests import check_digests; from host.layout import Refused\n"
        "try: check_digests(Path(sys.argv[1]))\nexcept Refused as refused: sys.exit(str(refused))"
    )

    def checked() -> subprocess.CompletedProcess[str]:
        arguments = [sys.executable, "-B", "-c", check, tmp_path]
        return subprocess.run(arguments, cwd=ROOT / "deploy", capture_output=True, text=True, check=False)

    assert checked().returncode == 0
    (tmp_path / "file").write_text("otherwise")
    done = checked()
    assert done.returncode == 1
    assert "file: differs from the manifest. Remove it, and release it from its bundle again" in done.stderr


def test_a_wrong_call_is_told() -> None:
    """argparse's status 2, with the usage."""
    done = run("release", "--no-such-option")
    assert done.returncode == 2
    assert "usage: deploy/release" in done.stderr
