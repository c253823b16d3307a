"""Behind nginx, whatever a client sends, every other client gets the answer to its own request."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.loop.conftest import Server
from tests.loop.corpus import CASES
from tests.loop.exchange import exchange
from tests.loop.slow import NUMBER, serve_beside_slow_clients
from tests.serving import free_port, http_status, wait_until

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
CONFIG = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream ledgerd {{ server 127.0.0.1:{upstream}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{port};
        underscores_in_headers on; ignore_invalid_headers off; merge_slashes off; large_client_header_buffers 8 128k;
        proxy_ignore_client_abort on;
        location = / {{ proxy_pass http://ledgerd; proxy_http_version 1.1; proxy_set_header Connection ""; }}
        location / {{
            proxy_pass http://ledgerd; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_set_header Host $http_host; proxy_request_buffering off; proxy_read_timeout 5s;
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def nginx(ours: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port. It is as trusting as it can be told to be, and has one connection to the worker for all its clients."""
    if NGINX is None:
        pytest.skip("nginx is not installed: apt install nginx")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    user = "user root;" if Path.home() == Path("/root") else ""
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, upstream=ours.port, user=user))
    with subprocess.Popen([NGINX, "-c", config, "-e", folder / "error.log"]) as process:
        wait_until(lambda: http_status(f"http://127.0.0.1:{port}/") == 200, 20)
        yield port
        process.terminate()


@pytest.mark.parametrize("kind", sorted({name.partition(":")[0] for name in CASES}))
def test_no_answer_goes_astray(nginx: int, kind: str) -> None:
    """After each request of the corpus, three others on the same connection to the worker, each with a mark of its own."""
    for number, (name, request) in enumerate(CASES.items()):
        if name.startswith(f"{kind}:"):
            exchange(nginx, [request])
            for n in range(3):
                mark = f"/mark?{number}-{n}"
                (reply,) = exchange(nginx, [f"GET {mark} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()])
                assert (reply.status, reply.told["RAW_URI"]) == (200, mark), f"after {name}"


def test_slow_clients_do_not_reach_the_worker(nginx: int, ours: Server) -> None:
    """nginx keeps what they send until it is whole."""
    before = ours.descriptors()
    answered, left = serve_beside_slow_clients(nginx, rounds=50)
    assert (answered, left) == (1000, NUMBER)
    assert ours.descriptors() <= before + 2  # nginx's own connection
