"""What `ledgerd` says, and its status, when a command cannot be carried out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import NoReturn

import pytest

from service import cli
from service.commands.command import WrongCall
from service.errors import ConfigurationError
from tests.serving import LEDGERD, ROOT, clean_env


def raising(error: BaseException) -> Callable[[object], NoReturn]:
    """A command that does only that."""

    def run(_options: object) -> NoReturn:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(24, "Too many open files", "/some/file"), 1, "/some/file: Too many open files"),
        (OSError(11, "Resource temporarily unavailable"), 1, "the command cannot go on: Resource temporarily unavailable"),
        (OSError("of no number"), 1, "the command cannot go on: of no number"),
        (ConfigurationError("wrong"), 1, "wrong"),
        (WrongCall("wrong"), 2, "wrong"),
    ],
)
def test_an_error_is_a_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, told: str
) -> None:
    """Whatever the command is."""
    monkeypatch.setattr(cli, "_openapi", raising(error))
    assert cli.main(["openapi"]) == status
    assert capsys.readouterr() == ("", f"ledgerd: {told}\n")


def test_ctrl_c_while_the_commands_are_loaded_is_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That takes most of the first second."""
    monkeypatch.setattr(cli, "add_digest_command", raising(KeyboardInterrupt()))
    assert cli.main(["verify"]) == 130
    assert capsys.readouterr() == ("", "ledgerd: interrupted\n")


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("openapi > /dev/full", "standard output cannot be written: No space left on device"),
        ("--version > /dev/full", "standard output cannot be written: No space left on device"),
        ("digest tests/unit > /dev/full", "standard output cannot be written: No space left on device"),
        ("digest tests/unit >&-", "standard output cannot be written: Bad file descriptor"),
        ("digest tests/unit --check /dev/null --json >&-", "/dev/null names no file"),
        ("digest /none >&- <&-", "cannot list the folder /none: No such file or directory"),
    ],
)
def test_a_standard_output_that_fails_is_a_line(how: str, told: str) -> None:
    """Status 1, on a full disk as with one that the caller closed."""
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m service {how}', LEDGERD[0]], cwd=ROOT, env=clean_env(), capture_output=True, text=True,
        timeout=60, check=False,
    )
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, f"ledgerd: {told}")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_standard_error_changes_nothing_else() -> None:
    """What is said goes nowhere, and not to standard output."""
    done = subprocess.run(
        ["sh", "-c", '"$0" -m service digest /none 2>&-', LEDGERD[0]], env=clean_env(), capture_output=True, text=True,
        timeout=60, check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
