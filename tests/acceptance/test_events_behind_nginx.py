"""Live events behind nginx, by the very places that deploy/nginx/ledgerd.conf has for them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.acceptance.events import Poster, serving
from tests.serving import ROOT, Serve, free_port, http_status, wait_until
from tests.sse import listen

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONFIG = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream ledgerd {{ server 127.0.0.1:{upstream}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
        {places}
        location / {{ proxy_pass http://ledgerd; }}
    }}
}}
"""


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Serve]:
    """A server that says something three times a second."""
    with serving(tmp_path / "data", database_url, LEDGERD_LIVE_HEARTBEAT_S="0.3") as server:
        yield server


@pytest.fixture
def port(server: Serve, tmp_path: Path) -> Iterator[int]:
    """nginx in front of it, which takes a second of silence for a broken line."""
    if NGINX is None:
        pytest.skip("nginx is not installed: apt install nginx")
    ours = (ROOT / "deploy" / "nginx" / "ledgerd.conf").read_text()
    places = re.findall(r"^    location = /api/events\S* \{.*?^    \}", ours, re.MULTILINE | re.DOTALL)
    assert len(places) == 2
    port, user = free_port(), "user root;" if Path.home() == Path("/root") else ""
    config = tmp_path / "nginx.conf"
    quick = "\n".join(places).replace("timeout 50s", "timeout 1s")
    config.write_text(CONFIG.format(folder=tmp_path, port=port, upstream=server.port, user=user, places=quick))
    with subprocess.Popen([NGINX, "-c", config, "-e", tmp_path / "error.log"]) as process:
        wait_until(lambda: http_status(f"http://127.0.0.1:{port}/healthz") == 200, 20)
        yield port
        process.terminate()


@pytest.mark.slow
def test_both_kinds_of_stream_pass_through(server: Serve, port: int) -> None:
    """Each event at once, and through silences that are longer than the proxy bears."""
    key = server.key()
    headers = {"Authorization": f"Bearer {key}"}
    with (
        closing(Poster(server.port, key)) as poster,
        listen(port, key) as stream,
        connect(f"ws://127.0.0.1:{port}/api/events/ws", additional_headers=headers, proxy=None) as socket,
    ):
        assert stream.status == 200
        assert [stream.next().event for _ in range(8)] == ["retry", *["comment"] * 7]
        for _ in range(2):
            (posted,) = poster.post()
            assert stream.events(1)[0].id == str(posted)
            assert json.loads(socket.recv(10))["id"] == posted
            with pytest.raises(TimeoutError):
                socket.recv(1.5)
