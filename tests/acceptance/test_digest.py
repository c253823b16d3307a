"""`ledgerd digest` as a process, beside the tools that read and write the same manifests."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.serving import LEDGERD, ROOT, clean_env, wait_until

TOOLS = {"sha256": "sha256sum", "md5": "md5sum", "blake2b": "b2sum"}
NAMES = [
    b"plain", b"-", b"-n", b" space ", b"*star", b"new\nline", b"back\\slash", b"return\r", b"\xff\xfe", "ä".encode(), b"#",
]


def digest(*arguments: str | Path, before: Sequence[str] = (), cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end."""
    command = [*before, *LEDGERD, "digest", *arguments]
    return subprocess.run(command, env=clean_env(), cwd=cwd, capture_output=True, timeout=60, check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with files of every kind of name."""
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    for name in NAMES:
        (folder / os.fsdecode(name)).write_bytes(name)
        (folder / "below" / os.fsdecode(name)).write_bytes(name * 1000)
    return folder


@pytest.mark.parametrize(("algorithm", "tool"), TOOLS.items())
def test_the_tools_accept_the_manifest(tree: Path, algorithm: str, tool: str) -> None:
    """On standard output or in a file, in the folder itself too; names are in the order of their bytes."""
    done = digest(tree, "--algorithm", algorithm)
    assert (done.returncode, done.stderr) == (0, b"")
    for _ in range(2):  # the second time it is there, and left out
        assert digest(tree, "--algorithm", algorithm, "-o", tree / "SUMS").returncode == 0
        assert (tree / "SUMS").read_bytes() == done.stdout
    checked = subprocess.run([tool, "--strict", "-c", "SUMS"], cwd=tree, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count(b": OK\n") == 2 * len(NAMES)
    with (tree / "SUMS").open("wb") as out:
        subprocess.run([*LEDGERD, "digest", tree, "--algorithm", algorithm], env=clean_env(), stdout=out, check=True)
    assert (tree / "SUMS").read_bytes() == done.stdout


@pytest.mark.parametrize(("algorithm", "tool"), TOOLS.items())
def test_the_manifests_of_the_tools_are_checked(tree: Path, tmp_path: Path, algorithm: str, tool: str) -> None:
    """What is missing, differs or is malformed is told, and with --complete what is not named."""
    listed = subprocess.run(["find", ".", "-type", "f", "-print0"], cwd=tree, capture_output=True, check=True).stdout
    names = [name for name in listed.split(b"\0") if name]
    sums = subprocess.run([tool, *names], cwd=tree, capture_output=True, check=True).stdout
    manifest = tmp_path / "SUMS"
    manifest.write_bytes(sums)
    arguments = (tree, "--algorithm", algorithm, "--check", manifest)
    done = digest(*arguments, "--complete")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    manifest.write_bytes(b"nothing\n" + sums)
    (tree / "plain").write_bytes(b"other")
    (tree / "below" / "new\nline").unlink()
    (tree / "more").write_bytes(b"")
    done = digest(*arguments)
    assert done.returncode == 1
    assert b"SUMS, line 1: expected" in done.stderr
    assert b"ledgerd: plain: differs from the manifest\n" in done.stderr
    assert b"ledgerd: below/new\\nline: cannot be read: No such file or directory\n" in done.stderr
    assert b"more" not in done.stderr
    complete = digest(*arguments, "--complete", "--json")
    assert b"ledgerd: more: is not in the manifest\n" in complete.stderr
    figures = json.loads(complete.stdout)
    assert (figures["algorithm"], figures["files"], len(figures["problems"])) == (algorithm, 2 * len(NAMES) - 1, 4)


def test_what_cannot_be_read_is_told_and_the_rest_is_digested(tree: Path) -> None:
    """An ordinary user before files and folders of others; a FIFO and a link beside them. Nothing hangs."""
    os.mkfifo(tree / "pipe")
    (tree / "link").symlink_to("plain")
    (tree / "secret").write_bytes(b"")
    (tree / "secret").chmod(0)
    (tree / "closed").mkdir(mode=0)
    before: list[str] = []
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        assert setpriv, "as root this test needs setpriv (Debian: util-linux)"
        before = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
        tree.chmod(0o755)
    try:
        done = digest(".", before=before, cwd=tree)  # the folders above are closed to others
    finally:
        (tree / "closed").chmod(0o700)
    assert done.returncode == 1
    assert done.stdout.count(b"\n") == 2 * len(NAMES)
    assert done.stderr.decode().splitlines() == [
        "ledgerd: closed: cannot be listed: Permission denied",
        "ledgerd: pipe: is a FIFO; only regular files have a digest",
        "ledgerd: secret: cannot be read: Permission denied",
        "ledgerd: 1 symbolic links were left out",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_half_written(tmp_path: Path, number: signal.Signals) -> None:
    """In the middle of a file that would take an hour: the old manifest stays, and nothing lies beside it."""
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "large").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "SUMS").write_bytes(b"old")
    command = [*LEDGERD, "digest", tree, "-o", tmp_path / "SUMS"]
    with subprocess.Popen(command, env=clean_env(), stderr=subprocess.PIPE) as process:
        try:
            wait_until(lambda: str(tree / "large") in _open_files(process.pid), 30)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, said) == (130, b"ledgerd: interrupted; nothing was written\n")
    assert (tmp_path / "SUMS").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["SUMS", "tree"]


def _open_files(pid: int) -> list[str]:
    folder = Path(f"/proc/{pid}/fd")
    found = []
    for name in os.listdir(folder):
        try:
            found.append(os.readlink(folder / name))
        except OSError:  # closed meanwhile
            continue
    return found


@pytest.mark.parametrize(
    ("arguments", "status", "expected"),
    [
        (["--json"], 2, "give -o FILE or --check FILE too"),
        (["--check", "a", "-o", "b"], 2, "give one of them"),
        (["--complete"], 2, "--complete goes with --check FILE"),
        (["--algorithm", "crc"], 2, "invalid choice: 'crc'"),
        (["--check", ""], 2, "argument --check: expected a name, not an empty one"),
        (["-o", ""], 2, "argument -o/--output: expected a name, not an empty one"),
        (["--jobs", "0"], 2, "expected a whole number from 1 to 64"),
        (["--check", "/none/SUMS"], 1, "cannot read the manifest /none/SUMS: No such file or directory"),
        (["--check", "/dev/null"], 1, "/dev/null names no file"),
        (["-o", "/none/SUMS"], 1, "/none/SUMS cannot be written: No such file or directory"),
    ],
)
def test_a_wrong_call_says_what_would_be_right(tmp_path: Path, arguments: list[str], status: int, expected: str) -> None:
    """A line on standard error, nothing on standard output."""
    done = digest(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (status, b"")
    assert expected in done.stderr.decode()


def test_an_empty_name_is_not_the_root_of_the_file_system() -> None:
    """`ledgerd digest "$UNSET"` is a wrong call."""
    done = digest("", "--json")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"argument DIR: expected a name, not an empty one" in done.stderr
