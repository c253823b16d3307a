"""Files, folders and the port of the host."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from service.config import Config
from service.doctor import files
from service.doctor.subject import Subject
from service.doctor.verdict import State, Verdict
from tests.doctor.conftest import ask, short_folder
from tests.serving import free_port

NOBODY = 65534


class QuietHandler(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """In the block this process may do what an ordinary user may; it is one already, unless it is root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def look(examination: object, **settings: object) -> Verdict:
    """What one examination says of these settings."""
    env = settings.pop("env", {})
    (verdict,) = ask(examination, Subject(config=Config(**settings), env=env))  # type: ignore[arg-type]
    return verdict


def test_a_data_directory_that_can_be_made_is_ok(tmp_path: Path) -> None:
    """There or not there yet; and it is not made for the look."""
    assert look(files.data_dir, data_dir=tmp_path).state is State.OK
    assert look(files.data_dir, data_dir=tmp_path / "a" / "b").state is State.OK
    assert list(tmp_path.iterdir()) == []


def test_a_data_directory_of_another_user_is_a_problem() -> None:
    """It cannot be written."""
    with short_folder() as folder:
        folder.chmod(0o555)
        with as_ordinary_user():
            verdict = look(files.data_dir, data_dir=folder / "ledger")
        assert verdict.state is State.PROBLEM
        assert f"{folder} cannot be written" in verdict.detail


def test_a_data_directory_that_everybody_can_write_is_a_problem() -> None:
    """Others could put a cluster of theirs there."""
    with short_folder() as folder:
        folder.chmod(0o777)
        assert look(files.data_dir, data_dir=folder).state is State.PROBLEM


@pytest.mark.parametrize(("mode", "state"), [(0o600, State.OK), (0o640, State.PROBLEM), (0o604, State.PROBLEM)])
def test_the_admin_key_is_for_its_owner_alone(tmp_path: Path, mode: int, state: State) -> None:
    """Mode 0600, else others can read it; its content is not shown."""
    key = tmp_path / "admin.key"
    key.write_text("ldg_secret")
    key.chmod(mode)
    verdict = look(files.admin_key, data_dir=tmp_path)
    assert verdict.state is state
    assert "ldg_" not in verdict.detail + verdict.hint


def test_the_admin_key_of_another_user_is_a_warning() -> None:
    """The one who looks is not the one who runs ledgerd."""
    with short_folder() as folder:
        key = folder / "admin.key"
        key.touch()
        key.chmod(0o600 if os.geteuid() == 0 else 0o200)
        with as_ordinary_user():
            assert look(files.admin_key, data_dir=folder).state is State.WARNING


def test_credentials_that_everybody_can_read_are_a_problem(tmp_path: Path) -> None:
    """Each file of the folder for itself."""
    env = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    for name, mode in (("database_url", 0o440), ("other", 0o444)):
        tmp_path.joinpath(name).write_text("postgresql://u:hunter2@h/x")
        tmp_path.joinpath(name).chmod(mode)
    verdicts = ask(files.credentials, Subject(config=Config(), env=env))
    assert [verdict.state for verdict in verdicts] == [State.OK, State.PROBLEM]
    assert "other has mode 0444" in verdicts[1].detail
    assert "hunter2" not in str(verdicts)


def test_a_run_folder_that_cannot_be_written_is_a_problem() -> None:
    """Also where it is not made yet."""
    with short_folder() as folder:
        folder.chmod(0o555)
        for run_dir in (folder, folder / "run"):
            with as_ordinary_user():
                verdict = look(files.run_folder, run_dir=run_dir)
            assert verdict.state is State.PROBLEM
            assert str(folder) in verdict.detail
        folder.chmod(0o755)
        assert look(files.run_folder, run_dir=folder / "run").state is State.OK
        assert list(folder.iterdir()) == []


def test_a_database_in_a_closed_folder_is_a_problem(tmp_path: Path) -> None:
    """Root's PostgreSQL runs as another user, who must be able to enter."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    if os.geteuid() == 0:
        with pytest.raises(Exception, match="cannot enter"):
            look(files.embedded_postgres, data_dir=closed)
    missing = look(files.embedded_postgres, data_dir=tmp_path, postgres_bin=tmp_path)
    assert missing.state is State.PROBLEM
    assert f"no program {tmp_path / 'postgres'}" in missing.detail


def test_a_free_port_is_ok() -> None:
    """And it is free afterwards."""
    bind = f"127.0.0.1:{free_port()}"
    for _ in range(2):
        verdict = look(files.port, bind=bind)
        assert (verdict.state, verdict.detail) == (State.OK, f"{bind} is free")


def test_a_port_whose_owner_says_nothing_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for without end."""
    monkeypatch.setattr(files, "PORT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        verdict = look(files.port, bind=f"127.0.0.1:{listener.getsockname()[1]}")
    assert verdict.state is State.PROBLEM
    assert "another program listens" in verdict.detail


def test_a_port_of_another_web_server_is_a_problem() -> None:
    """That something answers 200 does not make it a ledgerd."""

    def other(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])
        return [b"hi"]

    with make_server("127.0.0.1", 0, other, handler_class=QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        verdict = look(files.port, bind=f"127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join(10)
    assert verdict.state is State.PROBLEM


def test_an_address_of_no_interface_is_a_problem() -> None:
    """Nothing here has it."""
    verdict = look(files.port, bind="203.0.113.1:8080")
    assert verdict.state is State.PROBLEM
    assert "cannot be listened on" in verdict.detail


def test_grpc_is_looked_at_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not asked for; free; taken; not to be had; not installed."""
    assert look(files.grpc).state is State.OK
    bind = f"127.0.0.1:{free_port()}"
    assert look(files.grpc, grpc_bind=bind).detail == f"{bind} is free"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(bind.rpartition(":")[2])))
        taken.listen()
        assert look(files.grpc, grpc_bind=bind).detail.startswith("somebody listens")
    assert look(files.grpc, grpc_bind="192.0.2.1:8081").state is State.PROBLEM
    monkeypatch.setattr(files, "grpc_problems", lambda: ["it is not installed"])
    missing = look(files.grpc, grpc_bind=bind)
    assert (missing.state, missing.detail) == (State.PROBLEM, "it is not installed")
