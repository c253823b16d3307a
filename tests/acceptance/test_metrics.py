"""Metrics and logs of a real server with two workers, which are killed and replaced."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.test_posting import open_accounts, post
from tests.client import HttpClient
from tests.serving import Serve, ledgerd, wait_until

Figures = dict[str, float]


def scrape(server: Serve) -> Figures:
    """Every sample, by its name and sorted labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {
        " ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value
        for family in families for sample in family.samples
    }


def wait_for(server: Serve, **figures: float) -> Figures:
    """The figures once these have the values given (workers write about once a second)."""
    wanted = {"ledgerd_" + name: value for name, value in figures.items()}
    wait_until(
        lambda: wanted.items() <= scrape(server).items(), 30,
        lambda: f"wanted {wanted}, got { {name: scrape(server).get(name) for name in wanted} }", every_s=0.2,
    )
    return scrape(server)


def post_until_both_worked(server: Serve, key: str) -> int:
    """Post on new connections until each worker has written its own files; how many were posted."""
    client = HttpClient(server.port, key)
    source, target, _ = open_accounts(client, 3)
    client.close()
    posted = 2  # open_accounts moves money too
    folder = metrics_folder(server)
    while len(list(folder.glob("counter_*.db"))) < 2 or posted < 40:
        client = HttpClient(server.port, key)
        assert post(client, source, target, 1).status == 201
        client.close()
        posted += 1
        assert posted < 5000
    return posted


def metrics_folder(server: Serve) -> Path:
    """Where the workers' files are."""
    (folder,) = (server.log.parent / "run").glob("metrics-*")
    return folder


def test_figures_are_those_of_all_workers_whoever_answers(served: Serve) -> None:
    """Counters add up; they outlive a worker that is killed and a reload; gauges are of the living alone."""
    posted = post_until_both_worked(served, served.key())
    before = wait_for(served, **{"transfers_total  posted": posted, "workers": 2, "posting_queue_capacity": 8192})
    assert before["ledgerd_http_requests_total POST /api/transfers 201"] == posted
    assert before["ledgerd_posting_wait_seconds_count"] == posted
    assert before["ledgerd_pool_connections_max primary"] == 20

    victim, survivor = served.workers()
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in served.workers() and len(served.workers()) == 2, 30)
    after = wait_for(served, **{"transfers_total  posted": posted, "workers": 2, "pool_connections_max primary": 20})
    assert after["ledgerd_http_requests_total POST /api/transfers 201"] == posted

    served.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not {victim, survivor} & set(served.workers()) and len(served.workers()) == 2, 30)
    wait_for(served, **{"transfers_total  posted": posted, "workers": 2, "pool_connections_max primary": 20})
    more = post_until_both_worked(served, served.key())
    wait_for(served, **{"transfers_total  posted": posted + more})


def test_the_number_of_files_is_bounded(served: Serve) -> None:
    """Workers that come take over the numbers of those that have gone: at a reload there are twice as many."""
    for _ in range(3):
        before = set(served.workers())
        served.process.send_signal(signal.SIGHUP)
        wait_until(lambda before=before: not before & set(served.workers()) and len(served.workers()) == 2, 30)
    wait_for(served, workers=2)
    assert {path.stem.rpartition("_")[2] for path in metrics_folder(served).iterdir()} <= {"1", "2", "3", "4"}


def test_the_folder_ends_with_the_server(served: Serve) -> None:
    """Nothing is left of it."""
    folder = metrics_folder(served)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert served.stop() == 0
    assert not folder.exists()


def test_where_no_folder_can_be_made_it_does_not_start(database_url: str, tmp_path: Path) -> None:
    """One clear line."""
    (tmp_path / "run").write_text("in the way")
    done = ledgerd("web", DATABASE_URL=database_url, LEDGERD_DATA_DIR=str(tmp_path), LEDGERD_BIND="127.0.0.1:0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"ledgerd: LEDGERD_RUN_DIR={tmp_path / 'run'}: ")
    assert "Traceback" not in done.stderr


def test_every_line_is_json_and_tells_nothing_secret(database_url: str, tmp_path: Path) -> None:
    """But for what the command itself says; a client cannot forge a line either."""
    settings = {"DATABASE_URL": database_url, "LEDGERD_WORKERS": "2", "LEDGERD_DB_MAX_OPEN": "9", "LEDGERD_LOG_LEVEL": "debug"}
    with Serve(tmp_path, **settings) as server:
        key = server.wait_ready().key()
        client = HttpClient(server.port, key)
        source, target, _ = open_accounts(client, 3)
        assert post(client, source, target, 5).status == 201
        assert client.call("GET", "/api/users?email=private").status == 200
        forged = '%0a{"message":"forged"}%0d%00'
        assert client.call("GET", f"/x{forged}?private=1", X_Private="private", Cookie="private").status == 404
        client.close()
        with psycopg.connect(database_url, autocommit=True) as conn:  # so that psycopg's own loggers have something to say
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ledgerd'")
        assert server.stop() == 0
        text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines() if not line.startswith("ledgerd: ")]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    loggers = {line["logger"].partition(".")[0] for line in lines}
    assert {"ledgerd", "gunicorn"} <= loggers
    requests = [line for line in lines if line["logger"] == "ledgerd.access"]
    assert {"GET", "POST"} == {line["method"] for line in requests}
    assert len({line["trace_id"] for line in requests}) == len(requests)
    assert '/x\n{"message":"forged"}\r\x00' in [line["path"] for line in requests]
    for secret in (key, key.rpartition("_")[2], "private"):
        assert secret not in text


@pytest.mark.parametrize("name", ["LEDGERD_METRICS", "LEDGERD_METRICS_FROM"])
def test_wrong_settings_are_told(name: str) -> None:
    """What is wrong and what would be right."""
    done = ledgerd("check", **{name: "anybody"})
    assert done.returncode == 1
    assert name in done.stdout
    assert "expected" in done.stdout
