"""Requests that no well-behaved client sends, byte by byte over a socket."""

from __future__ import annotations

import json
import socket

from tests.serving import Serve, http_status

CASES = [
    ("no Host", b"GET /healthz HTTP/1.1\r\n\r\n", 400, "malformed_request"),
    ("absolute form", b"GET http://evil.example/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400, "malformed_request"),
    ("HTTP/1.0 without Host", b"GET /healthz HTTP/1.0\r\n\r\n", 200, None),
    ("chunked body above 1 MiB",
     b"POST /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n" + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 20 + b"0\r\n\r\n",
     413, "payload_too_large"),
    ("Content-Length above 1 MiB",
     b"POST /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
     b"Content-Length: 2097152\r\n\r\n", 413, "payload_too_large"),
    ("chunked body",
     b"POST /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n"
     b"20\r\n{\"name\":\"A\",\"email\":\"a@b.example\r\n2\r\n\"}\r\n0\r\n\r\n", 201, None),
    ("a chunk without its end",
     b"POST /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
     b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}}0\r\n\r\n", 400, "malformed_request"),
    ("a chunk's size that is none",
     b"POST /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\n"
     b"Transfer-Encoding: chunked\r\n\r\nx\r\n{}\r\n0\r\n\r\n", 400, "malformed_request"),
    ("an empty body", b"POST /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer KEY\r\n"
     b"Content-Type: application/json\r\nContent-Length: 0\r\n\r\n", 400, "malformed_request"),
]


def exchange(port: int, request: bytes) -> tuple[int, bytes]:
    """Send bytes; the status and the body of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            part = sock.recv(65536)
            assert part, f"closed after {answer!r}"
            answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
        while len(body) < length:
            body += sock.recv(65536)
    return int(head.split()[1]), body


def test_odd_requests(served: Serve) -> None:
    """Each gets its answer, and the server serves on."""
    key = served.key().encode()
    for name, request_bytes, status, code in CASES:
        got, body = exchange(served.port, request_bytes.replace(b"KEY", key))
        assert (got, json.loads(body).get("code")) == (status, code), name
        assert http_status(f"http://127.0.0.1:{served.port}/healthz") == 200


def test_half_a_body_has_no_effect(served: Serve) -> None:
    """Not even where what has come is JSON, and whichever loop reads it."""
    key = served.key().encode()
    head = b"POST /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
    for length in (100, 100_000):  # the second is more than the short loop reads before it calls the application
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as sock:
            sock.sendall(head % key + b"Content-Length: %d\r\n\r\n" % length + b'{"name": "Ada", "email": "ada@example.com"}')
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while part := sock.recv(65536):
                answer += part
        assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    _, body = exchange(served.port, b"GET /api/users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % key)
    assert json.loads(body)["data"] == []
