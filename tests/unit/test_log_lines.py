"""What a log line looks like."""

from __future__ import annotations

import json
import logging

from service.telemetry.logging import JsonFormatter, Seldom


def test_a_log_line_is_one_json_object() -> None:
    """With the fields of the call, and an exception in one line."""
    try:
        _ = 1 / 0
    except ZeroDivisionError as exc:
        about = (type(exc), exc, exc.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed %s", ("here",), about)
    record.fields = {"request_id": "r-1"}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    content = json.loads(line)
    assert (content["message"], content["level"], content["request_id"]) == ("failed here", "error", "r-1")
    assert "ZeroDivisionError" in content["exception"]


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
