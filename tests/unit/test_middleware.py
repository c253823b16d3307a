"""Each middleware alone, around a tiny application."""

from __future__ import annotations

import io
from typing import Any
from wsgiref.types import WSGIApplication

import pytest

from service.errors import Internal, LedgerdError, MalformedRequest, NotFound, PayloadTooLarge
from service.middleware.body_limit import body_limit
from service.middleware.cors import cors
from service.middleware.recovery import recovery
from service.middleware.request_target import request_target

HOSTS = ("a.b", "a.b.:8080", "[::1]:80", "127.0.0.1", "x" * 63 + ".b:65535", "a_b")
NO_HOSTS = ("a..b", "..a", ".a", "a..", ".", "..:80", "x" * 64, "a." + "x" * 64 + ".b", "x" * 64 + ":80")


def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with the body that was sent."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    stream = environ.get("wsgi.input")
    return [stream.read() if stream else b""]


def call(app: WSGIApplication, **environ: Any) -> tuple[str, dict[str, str], bytes]:
    """The answer of `app`."""
    told: dict[str, Any] = {}

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        told.update(status=status, headers=dict(headers))

    body = b"".join(app({"REQUEST_METHOD": "GET", "PATH_INFO": "/", **environ}, start))
    return told["status"], told["headers"], body


@pytest.mark.parametrize(
    ("environ", "fine"),
    [
        ({"HTTP_HOST": "x", "RAW_URI": "/a", "SERVER_PROTOCOL": "HTTP/1.1"}, True),
        ({"RAW_URI": "/a", "SERVER_PROTOCOL": "HTTP/1.0"}, True),
        ({"RAW_URI": "/a", "SERVER_PROTOCOL": "HTTP/1.1"}, False),
        *(({"HTTP_HOST": host, "RAW_URI": "/a", "SERVER_PROTOCOL": "HTTP/1.1"}, True) for host in HOSTS),
        *(({"HTTP_HOST": host, "RAW_URI": "/a", "SERVER_PROTOCOL": "HTTP/1.1"}, False) for host in NO_HOSTS),
        ({"HTTP_HOST": "a..b", "RAW_URI": "/a", "SERVER_PROTOCOL": "HTTP/1.0"}, False),
        ({"HTTP_HOST": "", "RAW_URI": "/a", "SERVER_PROTOCOL": "HTTP/1.1"}, False),
        ({"HTTP_HOST": "x", "RAW_URI": "http://x/a", "SERVER_PROTOCOL": "HTTP/1.1"}, False),
        ({"HTTP_HOST": "x", "RAW_URI": "*", "SERVER_PROTOCOL": "HTTP/1.1"}, False),
    ],
)
def test_request_targets(environ: dict[str, str], fine: bool) -> None:
    """A Host from HTTP/1.1 on, and a path."""
    if fine:
        assert call(request_target(echo), **environ)[0] == "200 OK"
    else:
        with pytest.raises(MalformedRequest):
            call(request_target(echo), **environ)


def test_a_body_up_to_the_limit_passes() -> None:
    """With a declared length, and in chunks."""
    limited = body_limit({}, 10)(echo)
    assert call(limited, CONTENT_LENGTH="10", **{"wsgi.input": io.BytesIO(b"0123456789")})[2] == b"0123456789"
    chunks = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO(b"0123456789")}
    assert call(limited, **chunks)[2] == b"0123456789"


def test_a_body_above_the_limit_is_refused() -> None:
    """A declared one before a byte of it is read, one in chunks when it passes the limit."""
    limited, stream = body_limit({}, 10)(echo), io.BytesIO(b"0123456789a")
    with pytest.raises(PayloadTooLarge):
        call(limited, CONTENT_LENGTH="11", **{"wsgi.input": stream})
    assert stream.tell() == 0
    with pytest.raises(PayloadTooLarge):
        call(limited, HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input": stream})


def test_a_path_may_have_another_limit() -> None:
    """Or none; whether the length is told or not."""
    limited = body_limit({"/more": 20, "/any": None}, 10)(echo)
    for path, length, passes in (("/", 11, False), ("/more", 20, True), ("/more", 21, False), ("/any", 5000, True)):
        for told in ({"CONTENT_LENGTH": str(length)}, {"HTTP_TRANSFER_ENCODING": "chunked"}):
            asked = {"PATH_INFO": path, "wsgi.input": io.BytesIO(b"x" * length), **told}
            if passes:
                assert call(limited, **asked)[2] == b"x" * length
            else:
                with pytest.raises(PayloadTooLarge):
                    call(limited, **asked)


def test_cors_is_off_unless_configured() -> None:
    """Without origins the middleware is not even there."""
    assert cors(())(echo) is echo


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        (["https://a.example"], "https://a.example", True),
        (["https://a.example"], "https://b.example", False),
        (["*"], "https://b.example", True),
    ],
)
def test_cors_names_the_origin(origins: list[str], origin: str, allowed: bool) -> None:
    """Only those configured, for answers and for preflight requests."""
    app = cors(origins)(echo)
    _, headers, _ = call(app, HTTP_ORIGIN=origin)
    assert headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    preflight = {"REQUEST_METHOD": "OPTIONS", "HTTP_ORIGIN": origin, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    assert call(app, **preflight)[0].startswith("204" if allowed else "200")


def test_recovery_answers_and_logs_our_own_faults(caplog: pytest.LogCaptureFixture) -> None:
    """A client's error is answered; any other is answered as `internal` and logged with its traceback."""
    rendered: list[Exception] = []

    def render(environ: Any, start_response: Any, error: Exception) -> list[bytes]:
        rendered.append(error)
        start_response("599 Rendered", [])
        return []

    def raising(error: Exception) -> WSGIApplication:
        def app(environ: Any, start_response: Any) -> list[bytes]:
            raise error

        return app

    for error, logged in ((NotFound("x"), 0), (Internal("y"), 1), (ZeroDivisionError("z"), 1)):
        caplog.clear()
        assert call(recovery(render)(raising(error)))[0] == "599 Rendered"
        assert len(caplog.records) == logged
        assert all(record.exc_info for record in caplog.records)
    assert all(isinstance(error, LedgerdError) for error in rendered)
    assert isinstance(rendered[-1], Internal)
