"""The site for nginx, on a real nginx in front of the real thing."""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.serving import ROOT, free_port, wait_until
from tests.systemd.installed import Installed

NAME = "ledger.example.com"
CUT_OFF_WITHIN_S = 40  # nginx waits for 10 s, and this machine may be busy


@dataclass(frozen=True)
class Proxy:
    """Where nginx listens, and the key of the ledger behind it."""

    port: int
    plain_port: int
    token: str

    def curl(self, *options: str, name: str = NAME, path: str = "/api/users") -> subprocess.CompletedProcess[str]:
        """Ask it by a name that leads to loopback."""
        where = ("--resolve", f"{name}:{self.port}:127.0.0.1", f"https://{name}:{self.port}{path}")
        command = ["curl", "--silent", "--show-error", "--insecure", "--max-time", "30", *options, *where]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def open(self) -> ssl.SSLSocket:
        """A TLS connection."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(("127.0.0.1", self.port), CUT_OFF_WITHIN_S), server_hostname=NAME)


@pytest.fixture
def proxy(ledgerd: Installed) -> Iterator[Proxy]:
    """nginx with our site, on free ports, with a certificate of its own making."""
    machine, port, plain_port = ledgerd.machine, free_port(), free_port()
    site = (ROOT / "deploy/nginx/ledgerd.conf").read_text()
    for old, new in (("127.0.0.1:8080", f"127.0.0.1:{ledgerd.port}"), ("listen 443", f"listen 127.0.0.1:{port}"),
                     ("listen 80", f"listen 127.0.0.1:{plain_port}")):
        assert old in site
        site = site.replace(old, new)
    site = "\n".join(line for line in site.splitlines() if "listen [::]" not in line)
    (machine.root / "etc/nginx/sites-enabled/default").unlink(missing_ok=True)
    (machine.root / "etc/nginx/sites-enabled/ledgerd").write_text(site)
    machine.run("mkdir", "-p", "/etc/ssl/ledgerd")
    machine.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}", "-days", "2",
                "-keyout", "/etc/ssl/ledgerd/privkey.pem", "-out", "/etc/ssl/ledgerd/fullchain.pem")
    machine.run("nginx", "-t")
    machine.run("systemctl", "restart", "nginx.service")
    yield Proxy(port, plain_port, ledgerd.token)
    machine.run("systemctl", "stop", "nginx.service")


def test_it_serves_over_tls_and_http2(proxy: Proxy) -> None:
    """A request by the right name reaches the ledger, over HTTP/2."""
    key = ("--header", f"Authorization: Bearer {proxy.token}")
    done = proxy.curl("--http2", *key, "--write-out", "\n%{http_version} %{http_code}")
    assert done.stdout.splitlines()[-1] == "2 200", done.stderr


def test_the_log_has_the_client_and_not_nginx(proxy: Proxy, ledgerd: Installed) -> None:
    """As the settings of a new host trust nginx, and nginx passes on whom it sees and not what it is told."""
    claim = ("--header", "X-Forwarded-For: 203.0.113.1", "--header", "X-Request-ID: who-is-it")
    assert proxy.curl("--interface", "127.0.0.2", *claim).returncode == 0

    def logged() -> list[str]:
        return [line for line in ledgerd.machine.journal(ledgerd.web).splitlines() if '"who-is-it"' in line]

    wait_until(logged, 30)
    assert '"remote":"127.0.0.2"' in logged()[-1]


def test_another_name_is_refused(proxy: Proxy) -> None:
    """Neither in the TLS handshake nor in the Host header; there is no answer to learn from."""
    assert "handshake" in (said := proxy.curl(name="other.example.com").stderr) or "unrecognized name" in said
    done = proxy.curl("--http1.1", "--header", "Host: other.example.com")
    assert (done.returncode, done.stdout) == (52, "")  # an empty reply


def test_plain_http_is_sent_to_tls(proxy: Proxy) -> None:
    """The method and the body stay with 308."""
    with socket.create_connection(("127.0.0.1", proxy.plain_port), 30) as plain:
        plain.sendall(f"POST /api/users HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0\r\n\r\n".encode())
        answer = plain.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 308")
    assert f"Location: https://{NAME}/api/users" in answer


def test_a_body_that_is_too_large_is_refused(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Above 1 MiB it does not reach the ledger."""
    body = tmp_path_factory.mktemp("body") / "large"
    body.write_bytes(b"x" * (1024 * 1024 + 1))
    done = proxy.curl("--data-binary", f"@{body}", "--output", "/dev/null", "--write-out", "%{http_code}")
    assert done.stdout == "413"


@pytest.mark.slow
@pytest.mark.parametrize("sent", ["Host: ", f"Host: {NAME}\r\nContent-Length: 9\r\n\r\n{{"], ids=["header", "body"])
def test_a_slow_client_is_cut_off(proxy: Proxy, sent: str) -> None:
    """A header or a body that does not go on is ended by nginx; the ledger has not heard of it."""
    with proxy.open() as slow:
        slow.sendall(b"POST /api/users HTTP/1.1\r\n" + sent.encode())
        answer = slow.recv(4096)  # TimeoutError when it is not cut off
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408")


@pytest.mark.slow
def test_a_restart_behind_it_costs_no_request(proxy: Proxy, ledgerd: Installed) -> None:
    """While no instance runs, nginx's connections wait on systemd's socket as everybody's do."""
    ledgerd.machine.run("systemctl", "stop", ledgerd.web)
    where = ("--resolve", f"{NAME}:{proxy.port}:127.0.0.1", f"https://{NAME}:{proxy.port}/healthz")
    waiting = subprocess.Popen(["curl", "--silent", "--insecure", "--max-time", "30", *where], stdout=subprocess.PIPE)
    ledgerd.machine.run("systemctl", "start", ledgerd.web)
    answer, _ = waiting.communicate(timeout=60)
    assert b"ok" in answer
    wait_until(lambda: proxy.curl(path="/healthz").returncode == 0, 30)
