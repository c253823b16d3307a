"""What docs/grpc.md says is so."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from pathlib import Path

from service.app import Application
from service.rpc.services import STREAM_EVENTS, methods
from service.rpc.status import STATUS
from tests.client import ApiClient

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "grpc.md").read_text("utf-8")


def test_the_table_of_statuses_is_the_one_in_the_code() -> None:
    """Each code in the row of its status."""
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", DOCUMENT, re.MULTILINE)
    told = {code: status for status, text in rows for code in re.findall(r"`([a-z_]+)`", text) if code in STATUS}
    assert told == {code: status.name for code, status in STATUS.items()}


def test_every_method_is_named(application: Application) -> None:
    """In the tables of its service."""
    named = defaultdict(str)
    for service, rows in re.findall(r"^\| `ledgerd\.v1\.(\w+)` \|.*\n\|[-|]+\n((?:\|.*\n)+)", DOCUMENT, re.MULTILINE):
        named[service] += rows
    for path in [*methods(application.routes), STREAM_EVENTS]:
        service, name = path.removeprefix("/ledgerd.v1.").split("/")
        assert f"`{name}`" in named[service], path


def test_the_examples_run(rpc_server: tuple[object, int], api: ApiClient) -> None:
    """As they stand, against a server."""
    first, second, third = (
        textwrap.dedent(text).replace("127.0.0.1:8081", f"127.0.0.1:{rpc_server[1]}")
        for text in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    )
    found: dict[str, object] = {"key": api.key}
    exec(first, found)
    assert found["etag"] == '"1"'
    account = api.account()

    class Enough(Exception):
        """The example goes on for ever."""

    def handle(event: object) -> None:
        assert event.type == "account.created"
        assert event.data.account.id == account["id"]
        raise Enough

    exec(third, found)
    with found["channel"]:
        found["handle"] = handle
        try:
            exec(second, found)
        except Enough:
            return
    raise AssertionError("no event came")
