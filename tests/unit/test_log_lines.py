"""What a log line looks like."""

from __future__ import annotations

import json
import logging

from service.telemetry.logging import JsonFormatter


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
