"""SIGHUP: new workers first; the old ones serve on where those do not come up. No request is lost either way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from service.server.exit_status import ExitStatus
from tests.server.load import Load
from tests.server.web import Web
from tests.serving import wait_until


def test_a_reload_replaces_the_workers_and_loses_no_request(start: Callable[..., Web], load: Callable[..., Load]) -> None:
    """Three reloads under load: RELOADING=1, then READY=1, other processes, and every request is answered 201."""
    web = start().wait_ready()
    with load(web.port) as clients:
        for number in range(2, 5):
            before = set(web.wait_workers(2))
            web.signal(signal.SIGHUP).wait_ready(number)
            wait_until(lambda before=before: not before & set(web.workers), 30)
            seen = clients.posted
            wait_until(lambda seen=seen: clients.posted > seen + 50, 30)
    assert clients.failures == []
    assert clients.refused == 0
    assert web.notify.states == ["READY", *["RELOADING", "READY"] * 3]
    assert all(int(m["MONOTONIC_USEC"]) > 0 for m in web.notify.messages if "RELOADING" in m)
    assert web.signal().wait_end() == ExitStatus.STOPPED


def test_a_reload_that_does_not_load_keeps_the_old_workers(
    start: Callable[..., Web], load: Callable[..., Load], faults: Path
) -> None:
    """An import error in the new code: the same processes serve on, log and STATUS say why; the next reload works."""
    web = start().wait_ready()
    before = web.wait_workers(2)
    with load(web.port) as clients:
        (faults / "broken").touch()
        web.signal(signal.SIGHUP).wait_ready(2)
        web.wait_log("the reload failed, the workers of before serve on: ImportError: this release is broken")
        wait_until(lambda: "the last reload failed: ImportError: this release is broken" in web.notify.status, 30)
        wait_until(lambda: web.workers == before, 30)
        (faults / "broken").unlink()
        web.signal(signal.SIGHUP).wait_ready(3)
        wait_until(lambda: not set(before) & set(web.workers), 60, lambda: web.log)
        assert "failed" not in web.notify.status
    assert clients.failures == []
    assert clients.refused == 0
    assert web.notify.states == ["READY", "RELOADING", "READY", "RELOADING", "READY"]


def test_a_reload_that_hangs_keeps_the_old_workers(start: Callable[..., Web], load: Callable[..., Load], faults: Path) -> None:
    """After LEDGERD_BOOT_TIMEOUT_S it has failed; a SIGHUP that came meanwhile is done then."""
    web = start(LEDGERD_BOOT_TIMEOUT_S="15").wait_ready()
    before = web.wait_workers(2)
    with load(web.port) as clients:
        (faults / "hangs").touch()
        web.signal(signal.SIGHUP)
        wait_until(lambda: web.notify.count("RELOADING") == 1, 30)
        web.signal(signal.SIGHUP)
        web.wait_log("is not up after 15 s")
        (faults / "hangs").unlink()
        web.wait_ready(2)
        wait_until(lambda: not set(before) & set(web.workers), 60, lambda: web.log)
    assert clients.failures == []
    assert web.notify.states == ["READY", "RELOADING", "RELOADING", "READY"]


def test_a_reload_takes_a_new_credential_and_refuses_a_wrong_one(
    start: Callable[..., Web], load: Callable[..., Load], tmp_path: Path, database_url: str
) -> None:
    """DATABASE_URL from a file: one that is no address fails at once, one that does not answer in time; a good one works."""
    credential = tmp_path / "database_url"
    credential.write_text(database_url)
    web = start(DATABASE_URL="", CREDENTIALS_DIRECTORY=str(tmp_path), LEDGERD_BOOT_TIMEOUT_S="12").wait_ready()
    before = web.wait_workers(2)
    with load(web.port) as clients:
        for number, (wrong, reason) in enumerate(
            [("mysql://x/y", "DATABASE_URL: expected"), ("postgresql://x@127.0.0.1:1/y", "")], 2
        ):
            credential.write_text(wrong)
            web.signal(signal.SIGHUP).wait_ready(number)
            wait_until(lambda reason=reason: f"reload failed: {reason}" in web.notify.status, 30)
            wait_until(lambda: web.workers == before, 30)
        assert "reload failed: The database does not answer" in web.notify.status
        os.kill(before[0], signal.SIGTERM)  # its replacement has the settings of before
        wait_until(lambda: before[0] not in web.workers and len(web.workers) == 2, 30)
        web.wait_workers(2)
        credential.write_text(database_url + "&application_name=rotated")
        web.signal(signal.SIGHUP).wait_ready(4)
    assert clients.failures == []
    assert web.signal().wait_end() == ExitStatus.STOPPED


def test_a_new_worker_that_is_killed_fails_the_reload(start: Callable[..., Web], faults: Path) -> None:
    """The other new one ends too, whatever it is doing, and the old ones are all that is left."""
    web = start().wait_ready()
    before = web.wait_workers(2)
    (faults / "hangs").touch()
    web.signal(signal.SIGHUP)
    wait_until(lambda: len(web.workers) == 4, 30)
    os.kill(max(set(web.workers) - set(before)), signal.SIGKILL)
    web.wait_ready(2).wait_log("the reload failed, the workers of before serve on: it has not loaded the application yet")
    wait_until(lambda: web.workers == before, 30)
    assert web.answers() == 200
