"""The clients of live events that docs/api.md shows do what it says of them, over a restart too."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.events import Poster, serving
from tests.serving import ROOT, Serve, clean_env, wait_until

TEXT = (ROOT / "docs" / "api.md").read_text()


def example(heading: str, language: str) -> str:
    """The code of that language in the section under `heading`."""
    section = TEXT.partition(f"### {heading}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    (code,) = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    return str(code)


class Program:
    """A client in a process of its own, which prints the id of each event."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._told, self._errors = folder / "told", folder / "errors"
        with self._told.open("w") as told, self._errors.open("w") as errors:
            self._process = subprocess.Popen(command, cwd=folder, env=clean_env(), stdout=told, stderr=errors)

    def wait_for(self, ids: list[int]) -> None:
        """Until it has been told of these, and no others."""
        wait_until(
            lambda: self._told.read_text().split() == list(map(str, ids)), 30,
            lambda: f"told {self._told.read_text().split()}, not {ids}; {self._errors.read_text()}",
        )

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def start_python(folder: Path, server: Serve, key: str, *, websocket: bool) -> Program:
    """The example in Python, which reads until the line breaks; over a WebSocket from the beginning."""
    if websocket:
        code = f"url, key, last = 'ws://127.0.0.1:{server.port}', {key!r}, 0\n"
        code += example("GET `/api/events/ws`", "python") + "        print(event['id'], flush=True)\n"
    else:
        code = example("GET `/api/events`", "python").replace("HTTPSConnection", "HTTPConnection")
        code += f"\nfor event_id, event in events('127.0.0.1:{server.port}', {key!r}):\n    print(event['id'], flush=True)\n"
    (folder / "client.py").write_text(code)
    return Program(folder, sys.executable, "client.py")


@pytest.mark.parametrize("websocket", [False, True], ids=["stream", "websocket"])
def test_the_examples_in_python(database_url: str, tmp_path: Path, websocket: bool) -> None:
    """Everything from the beginning, as it happens."""
    with serving(tmp_path, database_url) as server:
        key = server.key()
        with (
            closing(Poster(server.port, key)) as poster,
            closing(start_python(tmp_path, server, key, websocket=websocket)) as program,
        ):
            ids = [1, 2, *poster.post(3)]
            program.wait_for(ids)
            program.wait_for(ids + poster.post(2))


def test_the_example_in_javascript_comes_back(database_url: str, tmp_path: Path) -> None:
    """It goes on after a restart of the server, where it was."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: apt install nodejs")
    with serving(tmp_path, database_url) as server:
        key, port = server.key(), server.port
        code = f"const url = 'http://127.0.0.1:{port}', key = {key!r};\nconst handle = (event) => console.log(event.id);\n"
        (tmp_path / "client.mjs").write_text(code + example("GET `/api/events`", "js"))
        program = Program(tmp_path, node, "client.mjs")
        with closing(Poster(port, key)) as poster:
            ids = [1, 2, *poster.post(3)]
            program.wait_for(ids)
        assert server.stop() == 0
    with (
        closing(program),
        Serve(tmp_path, port, DATABASE_URL=database_url, LEDGERD_WORKERS="1").wait_ready() as second,
        closing(Poster(second.port, key)) as poster,
    ):
        ids += [ids[-1] + 1, ids[-1] + 2, *poster.post(3)]
        program.wait_for(ids)
