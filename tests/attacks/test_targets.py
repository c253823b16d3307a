"""Methods and paths that are meant to lead somewhere else."""

from __future__ import annotations

import json

import pytest

from tests.attacks.conftest import KEY, Target, assert_tells_nothing, contents

PATHS = [
    "//", "//healthz", "/healthz/", "/./healthz", "/api/../healthz", "/api/users/../../healthz",
    "/api/users/..%2f..%2fhealthz", "/healthz%00.html", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5cetc", "/..;/healthz",
    "/api//users", "/api/users//", "/api/users/1%2f2", "/api/users/1/", "/healthz;x=1", "/api/users/%2e%2e", "/api%2fusers",
    "/api%2Fusers", "//api/users", "/api/users%00", "/api/users/1%00", "/%00", "/api/users/%c0%ae%c0%ae", "/healthz%3fx",
    "/api/users/1%20", "/api/users/%ff", "/static/app.py", "/.git/config", "/.env", "/wsgi.py", "/api/users/1;2",
    "/api/users/1%0a", "/metrics/../api/users",
    "/api/users/" + "9" * 300, "/api/users/" + "%2e" * 300,
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_an_odd_path_is_that_path_or_nothing(target: Target, path: str) -> None:
    """Nothing is resolved, joined or decoded twice. Without a key it opens nothing; with one there is nothing there."""
    before = contents(target.database_url)
    for method in (b"GET", b"POST", b"DELETE"):
        head = method + b" " + path.encode() + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n"
        (without,) = target.send(head + b"\r\n")
        assert without.status in (400, 401), (method, without.status)
        (key,) = target.send(head + b"Authorization: Bearer " + KEY + b"\r\n\r\n")
        assert key.status in (400, 404, 405), (method, key.status)
        for reply in (without, key):
            assert reply.fields["content-type"] == "application/problem+json"
            assert "location" not in reply.fields
            assert_tells_nothing(reply.fields, reply.body)
    assert contents(target.database_url) == before


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "DEBUG", "PROPFIND", "OPTIONS", "PURGE", "get", "X" * 30])
@pytest.mark.parametrize("path", ["/", "/healthz", "/api/users", "*", "a.example:443"])
def test_an_odd_method_does_nothing(target: Target, method: str, path: str) -> None:
    """Nothing is repeated (TRACE), connected (CONNECT) or listed."""
    request = f"{method} {path} HTTP/1.1\r\nHost: a\r\nX-Secret: hunter2\r\nConnection: close\r\n\r\n".encode()
    (reply,) = target.send(request)
    assert reply.status in (400, 401, 405), reply.status
    assert b"hunter2" not in reply.body
    assert json.loads(reply.body)["status"] == reply.status
    assert "allow" not in reply.fields or reply.status == 405


def test_host_names_lead_nowhere(target: Target) -> None:
    """No answer is made of the Host that was asked for: no link, no redirect."""
    for host in (b"evil.example", b"evil.example:80", b"127.0.0.1@evil.example", b"a\"b", b"[::1]"):
        body = b'{"name": "A", "email": "%b@host.example"}' % host.hex().encode()
        head = b"POST /api/users HTTP/1.1\r\nHost: %b\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n" % host
        more = b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n" % (KEY, len(body))
        (reply,) = target.send(head + more + body)
        assert b"evil" not in reply.body
        assert "evil" not in str(reply.fields)
