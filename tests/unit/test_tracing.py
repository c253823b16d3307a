"""Traces: what is taken from a client, and what is answered."""

from __future__ import annotations

import re
from typing import Any

import pytest

from service.middleware.answer_headers import answer_headers
from service.middleware.environ import TRACE
from service.middleware.tracing import Trace, tracing
from tests.unit.test_middleware import call, echo

TRACE_ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE_ID}-{PARENT}-01"


def traced(**environ: Any) -> tuple[Trace, dict[str, str]]:
    """The trace of a request, and the headers of its answer."""
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        return echo(environ, start_response)

    _, headers, _ = call(answer_headers(tracing()(app)), **environ)
    return seen[TRACE], headers


@pytest.mark.parametrize("flags", ["00", "01", "02", "03", "ff"])
def test_a_request_takes_part_in_its_clients_trace(flags: str) -> None:
    """With a span id of its own; of the flags only the known one is passed on."""
    trace, headers = traced(HTTP_TRACEPARENT=f"00-{TRACE_ID}-{PARENT}-{flags}")
    assert (trace.trace_id, trace.parent_id) == (TRACE_ID, PARENT)
    assert trace.span_id != PARENT
    assert headers["traceparent"] == f"00-{TRACE_ID}-{trace.span_id}-0{int(flags, 16) & 1}"


@pytest.mark.parametrize(
    "given",
    [
        None, "", "00", GIVEN[:-1], GIVEN + "0", GIVEN + "-x", GIVEN + "\n", f" {GIVEN}", GIVEN.upper(),
        GIVEN.replace("00-", "01-", 1), GIVEN.replace("00-", "ff-", 1), f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01", f"00-{TRACE_ID[1:]}g-{PARENT}-01", f"00-{TRACE_ID}-{PARENT}-0g", f"{GIVEN},{GIVEN}",
        GIVEN.replace("4", "\u0664"),
    ],
)
def test_anything_else_begins_a_new_trace(given: str | None) -> None:
    """Wrong lengths, capitals, other versions, zeros, two headers in one."""
    trace, headers = traced(HTTP_TRACESTATE="vendor=1", **({} if given is None else {"HTTP_TRACEPARENT": given}))
    assert (trace.parent_id, trace.state) == (None, "")
    assert TRACE_ID not in headers["traceparent"]
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", headers["traceparent"])
    assert "tracestate" not in headers


@pytest.mark.parametrize(
    ("state", "passed"), [("vendor=1,other=x y", True), ("", False), ("v=1\r\nX: y", False), ("v=" + "1" * 511, False)]
)
def test_tracestate_is_passed_on(state: str, passed: bool) -> None:
    """As it is, where it is printable and not too long."""
    _, headers = traced(HTTP_TRACEPARENT=GIVEN, HTTP_TRACESTATE=state)
    assert headers.get("tracestate") == (state if passed else None)


def test_ids_are_not_repeated() -> None:
    """A thousand requests have a thousand traces."""
    assert len({traced()[0].trace_id for _ in range(1000)}) == 1000


def test_whoever_exports_decides_what_is_sampled() -> None:
    """By the trace id and the parent's flag."""
    asked = []

    def sample(trace_id: str, parent_sampled: bool | None) -> bool:
        asked.append((trace_id, parent_sampled))
        return True

    _, headers, _ = call(answer_headers(tracing(sample)(echo)), HTTP_TRACEPARENT=GIVEN[:-1] + "0")
    assert headers["traceparent"].endswith("-01")
    call(answer_headers(tracing(sample)(echo)))
    assert asked[0] == (TRACE_ID, False)
    assert asked[1][1] is None
