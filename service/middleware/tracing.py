"""W3C Trace Context: a request takes part in its client's trace, or begins one, and its answer says which.

`traceparent` is taken in version 00 as https://www.w3.org/TR/trace-context/ defines it. Anything else in its place is ignored,
and a new trace begins. `tracestate` belongs to a valid traceparent and is passed on as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.middleware.environ import ANSWER_HEADERS, TRACE, Headers, Middleware
from service.middleware.ids import new_id

_PARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})", re.ASCII)
_STATE = re.compile(r"[ -~]{1,512}", re.ASCII)
_SAMPLED = 1  # the one flag that version 00 knows

Sample = Callable[[str, bool | None], bool]
"""Whether a span is to be kept: by its trace id, and by what the parent says of itself (None without one)."""


@dataclass(slots=True)
class Trace:
    """A request's place in a trace; ids in lower-case hexadecimals. `state` is its tracestate, "" without one."""

    trace_id: str
    span_id: str
    parent_id: str | None
    sampled: bool
    state: str

    @property
    def header(self) -> str:
        """As a traceparent."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def as_the_parent_says(_trace_id: str, parent_sampled: bool | None) -> bool:
    """Where nothing is exported: the flag is passed on."""
    return parent_sampled or False


def tracing(sample: Sample = as_the_parent_says) -> Middleware:
    """Set `ledgerd.trace`, and the answer's `traceparent` and `tracestate`."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_tracing(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            trace = environ[TRACE] = begin_trace(environ, sample)
            environ[ANSWER_HEADERS] += trace_headers(trace)
            return app(environ, start_response)

        return with_tracing

    return layer


def trace_headers(trace: Trace) -> Headers:
    """What an answer says of its trace."""
    return [("traceparent", trace.header), *([("tracestate", trace.state)] if trace.state else [])]


def begin_trace(environ: WSGIEnvironment, sample: Sample) -> Trace:
    """The request's place in its client's trace, or in a new one."""
    given = environ.get("HTTP_TRACEPARENT")
    parent = None if given is None else _PARENT.fullmatch(given)
    if parent is None:
        ids = new_id(48)  # zeros alone, which would not be valid, are less likely than a broken machine
        return Trace(ids[:32], ids[32:], None, sample(ids[:32], None), "")
    trace_id, parent_id, flags = parent.groups()
    state = environ.get("HTTP_TRACESTATE", "")
    return Trace(
        trace_id, new_id(16), parent_id, sample(trace_id, bool(int(flags, 16) & _SAMPLED)),
        state if _STATE.fullmatch(state) else "",
    )
