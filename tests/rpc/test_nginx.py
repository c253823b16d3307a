"""Behind nginx, by the lines of docs/operations.md: TLS is nginx's, the rest is the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from service.app import Application
from service.commands.grpc import make_server
from service.config import Config
from service.rpc.v1 import ledger_pb2, users_pb2
from service.telemetry.output import standard_error
from tests.rpc.client import outcome
from tests.serving import ROOT, free_port, wait_until

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONFIG = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    {temporary}
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
        {location}
    }}
}}
"""


@pytest.fixture
def upstream(config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The port of a server that trusts nginx, and the lines of its log."""
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(standard_error(), "write", lambda data: lines.extend(map(json.loads, data.splitlines())))
    trusting = replace(config, grpc_bind="127.0.0.1:0", trusted_proxies=("127.0.0.1",), log_level="info")
    application = Application(trusting).open()
    server = make_server(application, trusting)
    yield server.start(), lines
    assert server.stop(10)
    application.close(10)


@pytest.fixture
def channel(upstream: tuple[int, list[dict[str, Any]]], tmp_path: Path) -> Iterator[grpc.Channel]:
    """A channel to nginx."""
    if NGINX is None:
        pytest.skip("nginx is not installed: apt install nginx")
    port = free_port()
    named = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *named,
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        check=True, capture_output=True,
    )
    found = re.search(r"^location ~.*?^}", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    location = found[0].replace("127.0.0.1:8081", f"127.0.0.1:{upstream[0]}")
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {tmp_path}/{kind}; " for kind in kinds)
    user = "user root;" if Path.home() == Path("/root") else ""
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(folder=tmp_path, port=port, user=user, temporary=temporary, location=location))
    credentials = grpc.ssl_channel_credentials((tmp_path / "cert.pem").read_bytes())
    with subprocess.Popen([NGINX, "-c", config, "-e", tmp_path / "error.log"]) as process:
        with grpc.secure_channel(f"localhost:{port}", credentials) as made:
            wait_until(lambda: answers(made), 20, (tmp_path / "error.log").read_text)
            yield made
        process.terminate()


def answers(channel: grpc.Channel) -> bool:
    """Whether somebody says that the key is missing."""
    return outcome(channel.unary_unary("/ledgerd.v1.UserService/GetUser"), b"", 5, []).code == "unauthenticated"


def test_calls_and_streams_pass_nginx(
    channel: grpc.Channel, upstream: tuple[int, list[dict[str, Any]]], key: str
) -> None:
    """Messages, trailing metadata, details of errors, a stream while it goes on; and the log has whom nginx names.

    That this host itself may name another is because it is trusted here.
    """
    metadata = [("authorization", f"Bearer {key}"), ("x-request-id", "through-nginx"), ("x-forwarded-for", "203.0.113.9")]
    create = channel.unary_unary("/ledgerd.v1.UserService/CreateUser")
    message = users_pb2.CreateUserRequest(name="A", email="a@example.com").SerializeToString()
    made = outcome(create, message, 10, metadata)
    assert (made.status, made.metadata["etag"]) == (grpc.StatusCode.OK, '"1"')
    again = outcome(create, message, 10, metadata)
    assert (again.code, again.reason) == ("conflict", "CONFLICT")

    stream = channel.unary_stream("/ledgerd.v1.LedgerService/StreamEvents")
    call = stream(ledger_pb2.StreamEventsRequest(after=0).SerializeToString(), metadata=metadata, timeout=30)
    account = ledger_pb2.CreateAccountRequest(asset="USD/2").SerializeToString()
    opened = outcome(channel.unary_unary("/ledgerd.v1.LedgerService/CreateAccount"), account, 10, metadata)
    event = ledger_pb2.Event.FromString(next(call))
    assert event.data.account.id == ledger_pb2.Account.FromString(opened.message).id
    call.cancel()
    wait_until(lambda: [line for line in upstream[1] if line.get("route", "").endswith("StreamEvents")], 20)
    assert {line["remote"] for line in upstream[1] if line.get("request_id") == "through-nginx"} == {"203.0.113.9"}
