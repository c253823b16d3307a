"""What a log line looks like, whoever writes it."""

from __future__ import annotations

import json
import logging
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.ledger.principal import Principal
from service.middleware.access_log import LONGEST_PATH, access_log
from service.middleware.environ import CLIENT_ADDRESS, PRINCIPAL, REQUEST_ID, ROUTE, TRACE
from service.middleware.tracing import Trace
from service.telemetry.logging import LineHandler, Seldom
from service.telemetry.output import Output
from service.telemetry.request_log import request_logger

HOSTILE = 'a"\r\n{"level":"error","message":"forged"}\x00\x1b[31m\u2028'


class Lines:
    """An Output into a file, and the lines in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.output = Output(self.fd)

    @property
    def raw(self) -> list[bytes]:
        return self._path.read_bytes().split(b"\n")[:-1]

    @property
    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw]


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    """Where the lines of a test go."""
    made = Lines(tmp_path / "log")
    yield made
    made.output.close()
    os.close(made.fd)


@pytest.fixture
def log(lines: Lines) -> Iterator[logging.Logger]:
    """A logger of the standard library whose lines go there."""
    logger = logging.Logger("some.library", logging.DEBUG)
    logger.addHandler(LineHandler(lines.output))
    return logger


def request(**fields: Any) -> dict[str, Any]:
    """The environment of a request that was answered."""
    return {
        REQUEST_ID: "r-1", TRACE: Trace("a" * 32, "b" * 16, None, False, ""), PRINCIPAL: Principal(7, "abc", frozenset()),
        ROUTE: "/api/users/<user_id>", "REQUEST_METHOD": "GET", "PATH_INFO": "/api/users/9", "REMOTE_ADDR": "127.0.0.1",
        "QUERY_STRING": "email=private", "HTTP_AUTHORIZATION": "Bearer private", "HTTP_COOKIE": "private", **fields,
    }


def test_a_line_of_a_library_is_one_json_object(log: logging.Logger, lines: Lines) -> None:
    """With the fields of the call, and an exception in the same line."""
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("failed %s", "here", extra={"fields": {"request_id": "r-1"}})
    (line,) = lines.all
    assert list(line)[:4] == ["time", "level", "logger", "message"]
    assert (line["message"], line["level"], line["logger"]) == ("failed here", "error", "some.library")
    assert line["request_id"] == "r-1"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_a_line_of_a_request_says_who_what_and_how(lines: Lines) -> None:
    """Every field, and nothing of query, headers or body."""
    access_log(request_logger("info", lines.output))(request(), 200, 0.0018532, 312)
    (line,) = lines.all
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info", "logger": "ledgerd.access", "message": "request", "request_id": "r-1", "trace_id": "a" * 32,
        "key_id": "abc", "ledger": 7, "method": "GET", "route": "/api/users/<user_id>", "path": "/api/users/9", "status": 200,
        "duration_ms": 1.853, "bytes": 312, "remote": "127.0.0.1",
    }


def test_a_request_that_nobody_could_be_named_for_is_logged_too(lines: Lines) -> None:
    """What is not known is null."""
    access_log(request_logger("info", lines.output))({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, 404, 0.1, 0)
    (line,) = lines.all
    assert all(line[name] is None for name in ("request_id", "trace_id", "key_id", "ledger", "route", "remote"))


def test_the_client_behind_a_trusted_proxy_is_named(lines: Lines) -> None:
    """Where the middleware has found out who it is."""
    access_log(request_logger("info", lines.output))(request(**{CLIENT_ADDRESS: "192.0.2.7"}), 200, 0.1, 0)
    assert lines.all[0]["remote"] == "192.0.2.7"


@pytest.mark.parametrize(("status", "level"), [(200, None), (499, None), (500, "warning"), (503, "warning"), (0, "warning")])
def test_above_info_only_failures_are_logged(lines: Lines, status: int, level: str | None) -> None:
    """Status 0 is a request without any answer."""
    access_log(request_logger("warning", lines.output))(request(), status, 0.1, 0)
    assert [line["level"] for line in lines.all] == ([level] if level else [])


def test_no_value_can_forge_a_line(log: logging.Logger, lines: Lines) -> None:
    """Line breaks and control characters are escaped, in requests and in everything else."""
    access_log(request_logger("info", lines.output))(request(PATH_INFO=HOSTILE, **{REQUEST_ID: HOSTILE}), 200, 0.1, 0)
    log.warning("it said %s", HOSTILE, extra={"fields": {"what": HOSTILE}})
    assert [line["level"] for line in lines.all] == ["info", "warning"]
    assert (lines.all[0]["path"], lines.all[1]["what"]) == (HOSTILE, HOSTILE)
    assert not any(byte < 0x20 for line in lines.raw for byte in line)


def test_a_line_of_a_request_fits_into_one_write(lines: Lines) -> None:
    """So that lines of two workers on one pipe cannot mix, whatever the path is."""
    access_log(request_logger("info", lines.output))(request(PATH_INFO="\x01" * 8000, **{REQUEST_ID: "r" * 128}), 200, 0.1, 0)
    (line,) = lines.raw
    assert len(line) < select.PIPE_BUF
    assert lines.all[0]["path"] == "\x01" * LONGEST_PATH + "…"


@pytest.mark.parametrize("value", ["\udc80", 2**70, object(), {1: 2}, float("nan"), b"bytes"])
def test_what_has_no_form_in_json_is_told_anyway(log: logging.Logger, lines: Lines, value: object) -> None:
    """A line is never lost for what is in it."""
    log.info("odd", extra={"fields": {"value": value}})
    (line,) = lines.all
    assert (line["message"], "value" in line) == ("odd", True)


def test_what_repeats_many_times_a_second_is_told_seldom() -> None:
    """Each kind of message passes once in the time given, whatever it is about."""
    seldom = Seldom(5.0)

    def passes(message: str, about: str, at: float) -> bool:
        record = logging.LogRecord("pool", logging.WARNING, __file__, 1, message, (about,), None)
        record.created = at
        return seldom.filter(record)

    told = [passes("lost %s", "one", 100.0), passes("lost %s", "two", 104.9), passes("no %s", "answer", 104.9)]
    assert told == [True, False, True]
    assert passes("lost %s", "three", 105.0)
