"""Nothing that a client sends becomes a header of an answer, or another answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest

from service.app import Application
from service.config import Config
from tests.attacks.conftest import KEY, Target
from tests.client import ApiClient
from tests.loop.exchange import Reply

BREAKS = [
    before + b"X-Evil: 1"
    for before in (
        b"\r\n", b"\n", b"\r", b"\r\n ", b"\x00\r\n", b"\x0b", b"%0d%0a", b"\xc4\x8d\xc4\x8a", b"\xe5\x98\x8d\xe5\x98\x8a",
        b"\xc2\x85", b"\xe2\x80\xa8", b"\r\n\r\nHTTP/1.1 200 OK\r\n",
    )
]  # fmt: skip
ALIKE = (
    "null", "https://evil.example", "https://app.example.com.evil.example", "HTTPS://APP.EXAMPLE.COM",
    "https://app.example.com:444", "http://app.example.com", "https://app.example.com/",
)  # fmt: skip
COME_BACK = [b"X-Request-ID", b"Idempotency-Key", b"If-Match", b"Origin", b"traceparent", b"Request-Timeout", b"Authorization"]


def assert_unbroken(replies: list[Reply], most: int) -> None:
    """Whole answers, no more than requests, and nothing smuggled in."""
    assert 1 <= len(replies) <= most
    for reply in replies:
        assert reply.whole
        assert reply.status >= 200
        assert "x-evil" not in reply.fields
        assert not any("X-Evil" in value for value in reply.fields.values())


@pytest.mark.parametrize("name", COME_BACK)
@pytest.mark.parametrize("broken", BREAKS, ids=repr)
def test_a_value_that_breaks_a_line_makes_no_header(target: Target, name: bytes, broken: bytes) -> None:
    """In each header whose value is told back, or could be. A real line is another field of the request, and just that."""
    head = b"POST /api/transfers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + KEY + b"\r\nConnection: close\r\n"
    body = b'{"from_account_id": 1, "to_account_id": 2, "amount": 1}'
    more = b"Content-Type: application/json\r\n%b: a%b\r\nContent-Length: %d\r\n\r\n" % (name, broken, len(body))
    request = head + more + body
    assert_unbroken(target.send(request), most=2)


@pytest.mark.parametrize("broken", BREAKS, ids=repr)
@pytest.mark.parametrize(
    "path", ["/api/users/{}", "/{}", "/api/users?cursor={}", "/api/users?{}=1", "/api/users?email={}", "/api/search?q={}"]
)
def test_a_path_or_query_that_breaks_a_line_makes_no_header(target: Target, path: str, broken: bytes) -> None:
    """What is wrong with it is told in JSON, where a line cannot be broken."""
    line = path.format(quote(broken)).encode()
    replies = target.send(b"GET %b HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nConnection: close\r\n\r\n" % (line, KEY))
    assert_unbroken(replies, most=1)
    json.loads(replies[0].body)


@pytest.mark.parametrize("broken", ["\r\nX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1", "\x00", "\u2028X-Evil: 1"], ids=repr)
def test_no_parser_is_needed_for_that(api: ApiClient, broken: str) -> None:
    """Also where a server in front would let such a value through, the answer's headers have none of it."""
    environ: dict[str, Any] = {f"HTTP_{name.decode().upper().replace('-', '_')}": f"a{broken}" for name in COME_BACK[:4]}
    answer = api._client.get("/api/users", environ_overrides={**environ, "HTTP_AUTHORIZATION": f"Bearer {api.key}"})
    for name, value in answer.headers.items():
        assert "X-Evil" not in name + value
        assert not set("\r\n\x00") & set(value)


def test_where_a_thing_was_made_is_its_number_alone(api: ApiClient) -> None:
    """`Location` and `ETag` hold nothing that the client has chosen."""
    body = {"name": "\r\nX-Evil: 1", "email": "a@b.example", "metadata": {"\r\nX-Evil": "1"}}
    reply = api.call("POST", "/api/users", body)
    assert reply.status == 201
    assert reply.headers["Location"] == f"/api/users/{reply.json['id']}"
    assert "X-Evil" not in str(reply.headers)


def test_a_foreign_origin_gets_nothing(target: Target) -> None:
    """Neither for a simple request nor for a preflight, whatever it calls itself."""
    for origin in (b"https://evil.example", b"null", b"https://127.0.0.1", b"*", b"https://a.example https://b.example"):
        ask = b"Host: a\r\nOrigin: %b\r\nConnection: close\r\n" % origin
        preflight = ask + b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization\r\n\r\n"
        for request in (
            b"GET /api/users HTTP/1.1\r\n" + ask + b"Authorization: Bearer %b\r\n\r\n" % KEY,
            b"GET /healthz HTTP/1.1\r\n" + ask + b"\r\n",
            b"OPTIONS /api/transfers HTTP/1.1\r\n" + preflight,
            b"OPTIONS /healthz HTTP/1.1\r\n" + preflight,
        ):
            (reply,) = target.send(request)
            assert not [name for name in reply.fields if name.startswith("access-control")], (origin, request)
            if request.startswith(b"OPTIONS"):
                assert reply.status >= 400


@pytest.mark.parametrize("origin", ALIKE)
def test_an_origin_that_only_looks_like_an_allowed_one_gets_nothing(database_url: str, config: Config, origin: str) -> None:
    """It is compared to the letter."""
    app = Application(replace(config, cors_origins=("https://app.example.com",))).open()
    try:
        client = ApiClient(app, None)
        assert "Access-Control-Allow-Origin" in client.get("/healthz", Origin="https://app.example.com").headers
        for reply in (
            client.get("/healthz", Origin=origin),
            client.call("OPTIONS", "/api/users", Origin=origin, Access_Control_Request_Method="POST"),
        ):
            assert not [name for name in reply.headers if name.startswith("Access-Control")]
    finally:
        app.close(10)
