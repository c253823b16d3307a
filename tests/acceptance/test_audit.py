"""`make audit`, with the real pip-audit against a service on loopback that knows what the test lets it know."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import audit

WEAK = {
    "id": "TEST-2026-1", "aliases": ["CVE-2026-0001"], "summary": "weak", "details": "weak",
    "published": "2026-01-01T00:00:00Z",
    "affected": [
        {"package": {"name": "weaklib", "ecosystem": "PyPI"}, "versions": ["1.0"],
         "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}]},
    ],
}  # fmt: skip


class Service(BaseHTTPRequestHandler):
    """Answers as OSV does: one weakness for `weaklib`, none for the others."""

    def do_POST(self) -> None:  # the class's own name for it
        """One question about one library."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": [WEAK]} if asked["package"]["name"] == "weaklib" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def service() -> Iterator[tuple[str, ...]]:
    """How pip-audit is told where it is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield ("-s", "osv", "--osv-url", f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """Two pinned libraries."""
    path = tmp_path / "constraints.txt"
    path.write_text("weaklib==1.0\nstronglib==2.0\n")
    return path


def test_a_known_weakness_fails_it(
    service: tuple[str, ...], requirements: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which library, and which version mends it."""
    assert audit.judge([audit.ask(requirements, service)], {}) == 1
    told = capsys.readouterr().out
    assert "weaklib 1.0: CVE-2026-0001, fixed in 1.1" in told
    assert "2 libraries, 1 findings, 0 ignored" in told


@pytest.mark.parametrize("name", ["TEST-2026-1", "CVE-2026-0001"])
def test_a_weakness_may_be_excused(service: tuple[str, ...], requirements: Path, name: str) -> None:
    """Under any of its names."""
    assert audit.judge([audit.ask(requirements, service)], {name: "we do not call it"}) == 0


def test_an_excuse_that_is_no_longer_needed_is_told(
    service: tuple[str, ...], requirements: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file stays short."""
    requirements.write_text("stronglib==2.0\n")
    assert audit.judge([audit.ask(requirements, service)], {"TEST-2026-1": "we do not call it"}) == 0
    assert "TEST-2026-1 is no longer found" in capsys.readouterr().out


def test_a_service_that_is_away_is_told_as_not_run(requirements: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing listens on that port; the reason is told, and the build goes on."""
    assert audit.judge([audit.ask(requirements, ("-s", "osv", "--osv-url", "http://127.0.0.1:1/"))], {}) == 0
    told = capsys.readouterr().out
    assert told.startswith("NOT RUN: pip-audit")
    assert "127.0.0.1" in told


def test_a_service_that_knows_no_library_is_told_as_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    """As a mirror does: pip-audit itself ends well then, and would report no weakness."""
    skipped = {"dependencies": [{"name": "flask", "skip_reason": "Dependency not found"}], "fixes": []}
    assert audit.judge([audit.read(skipped)], {}) == 0
    assert "NOT RUN: pip-audit" in capsys.readouterr().out


def test_an_excuse_needs_a_reason() -> None:
    """A bare id is refused."""
    assert audit.ignored("# comment\n\nCVE-1  not called\n") == {"CVE-1": "not called"}
    with pytest.raises(ValueError, match="line 1: expected an id and the reason"):
        audit.ignored("CVE-1\n")
