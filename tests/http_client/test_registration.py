"""A service stays in the registry for as long as it says so, and the example of the documentation does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.client import Client, stay_registered
from service.concurrency.context import background, with_cancel
from service.errors import Forbidden, InvalidInput, LedgerdError, MalformedRequest
from tests.client import ApiClient
from tests.http_client.scripted import answer, lose, problem, scripted
from tests.serving import ROOT, Serve, clean_env, wait_until

INSTANCE = "/api/services/mail/instances/mail-1"


@pytest.fixture
def served(database_url: str, tmp_path: Path) -> Serve:
    """A real server with the data directory of its admin key."""
    with Serve(tmp_path / "var", DATABASE_URL=database_url, LEDGERD_WORKERS="1") as server:
        yield server.wait_ready()


def test_it_is_there_until_its_context_ends(served: Serve, api: ApiClient) -> None:
    """Renewed meanwhile: longer than its lease."""
    with Client(f"http://127.0.0.1:{served.port}", served.key()) as client, with_cancel(background()) as ctx:
        arguments = (ctx, client, "mail", "mail-1", "10.0.0.5:8080")
        options = {"lease_s": 1, "metadata": {"zone": "a"}}
        thread = threading.Thread(target=stay_registered, args=arguments, kwargs=options)
        thread.start()
        wait_until(lambda: api.get(INSTANCE).status == 200, 10)
        first = api.get(INSTANCE).json
        assert (first["address"], first["metadata"], first["lease_s"]) == ("10.0.0.5:8080", {"zone": "a"}, 1)
        wait_until(lambda: api.get(INSTANCE).json["expires_at"] > first["expires_at"], 10)
        assert api.get(INSTANCE).json["registered_at"] == first["registered_at"]
        ctx.cancel()
        thread.join(10)
        assert not thread.is_alive()
        assert api.get(INSTANCE).status == 404
    served.stop()


@pytest.mark.parametrize(
    ("service", "instance", "address", "error"),
    [
        ("mail", "mail-1", "nowhere", InvalidInput), ("ledgerd", "x", "h:1", Forbidden),
        ("a/../x", "x", "h:1", MalformedRequest), ("mail", "x y", "h:1", InvalidInput),
    ],
)
def test_a_refusal_is_raised(
    served: Serve, api: ApiClient, service: str, instance: str, address: str, error: type[LedgerdError]
) -> None:
    """It would be refused again; and whoever has that id stays."""
    api.call("PUT", INSTANCE, {"address": "h:1", "lease_s": 60})
    with Client(f"http://127.0.0.1:{served.port}", api.key) as client, pytest.raises(error):
        stay_registered(background(), client, service, instance, address)
    assert api.get(INSTANCE).status == 200


def test_what_may_go_by_is_tried_again() -> None:
    """Lost answers, a server that stops; at the end one that is gone already is no error."""
    script = [lose, problem(503, "unavailable"), answer(200, {}), problem(404, "not_found")]
    with scripted(*script) as server, Client(server.url, None, attempts=1) as client, with_cancel(background()) as ctx:
        options = {"lease_s": 1}
        thread = threading.Thread(target=stay_registered, args=(ctx, client, "mail", "m", "h:1"), kwargs=options)
        thread.start()
        wait_until(lambda: len(server.asked) == 3, 10)
        ctx.cancel()
        thread.join(10)
        assert not thread.is_alive()
    assert [asked.line.split()[0] for asked in server.asked] == ["PUT", "PUT", "PUT", "DELETE"]


def test_the_example_in_the_documentation_runs(served: Serve, tmp_path: Path) -> None:
    """As it stands there but for the port, and it prints what stands there."""
    text = (ROOT / "docs" / "client.md").read_text()
    (example,) = re.findall(r"With `make run`.*?```python\n(.*?)```\n```text\n(.*?)```", text, re.DOTALL)
    (tmp_path / "var").mkdir(exist_ok=True)
    (tmp_path / "var" / "admin.key").write_text(served.key())
    program = example[0].replace("127.0.0.1:8080", f"127.0.0.1:{served.port}")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=clean_env(), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == (example[1], "")
