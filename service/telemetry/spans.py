"""Spans for OpenTelemetry: one a request, one a posting batch, sent by OTLP over HTTP. Needs the extra `otel`.

OpenTelemetry's standard variables mean what they always mean: OTEL_EXPORTER_OTLP_…, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER,
OTEL_BSP_…. A span is made when what it tells of has ended, and put into a bounded queue. A background thread (in a worker a
greenlet) sends them in batches. Where the receiver is slow or away, spans are dropped, and no request waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any
from wsgiref.types import WSGIEnvironment

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState, set_span_in_context
from opentelemetry.trace.status import Status, StatusCode

from service import __version__
from service.concurrency.primitives import Thread
from service.ledger.posting import BatchReport
from service.middleware.environ import CLIENT_ADDRESS, REQUEST_ID, ROUTE, TRACE
from service.middleware.tracing import Trace
from service.telemetry.requests import METHODS

MOST_LINKS = 128  # of a batch to its requests: OpenTelemetry's own default
_SAMPLED, _NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)
_FAILED, _UNSET = Status(StatusCode.ERROR), Status(StatusCode.UNSET)


class Spans:
    """Makes spans and has them sent. `close` at the end."""

    def __init__(self) -> None:
        told = {SERVICE_NAME: "ledgerd", SERVICE_VERSION: __version__, **OTELResourceDetector().detect().attributes}
        self._resource = Resource.create(told)
        self._scope = InstrumentationScope("ledgerd", __version__)
        self._sampler = TracerProvider(resource=self._resource, shutdown_on_exit=False).sampler
        self._exporter = OTLPSpanExporter()
        self._processor = BatchSpanProcessor(self._exporter)
        self._parents = {flag: _remote_parent(flag) for flag in (True, False)}

    def sample(self, trace_id: str, parent_sampled: bool | None) -> bool:
        """What OTEL_TRACES_SAMPLER says of a request; see middleware.tracing."""
        parent = None if parent_sampled is None else self._parents[parent_sampled]
        decided = self._sampler.should_sample(parent, int(trace_id, 16), "request", SpanKind.SERVER)
        return decided.decision is Decision.RECORD_AND_SAMPLE

    def request_ended(self, environ: WSGIEnvironment, status: int, duration_s: float, sent: int) -> None:
        """See middleware.observation."""
        trace: Trace = environ[TRACE]
        if not trace.sampled:
            return
        method, route = environ["REQUEST_METHOD"], environ.get(ROUTE)
        known = method if method in METHODS else None
        attributes: dict[str, Any] = {  # https://opentelemetry.io/docs/specs/semconv/http/http-spans/
            "http.request.method": known or "_OTHER",
            "http.response.status_code": status,
            "http.response.body.size": sent,
            "url.path": environ.get("PATH_INFO", ""),
            "url.scheme": environ.get("wsgi.url_scheme", "http"),
            "client.address": environ.get(CLIENT_ADDRESS) or environ.get("REMOTE_ADDR", ""),
            "ledgerd.request_id": environ.get(REQUEST_ID, ""),
        }
        if route is not None:
            attributes["http.route"] = route
        if failed := status >= 500 or status == 0:
            attributes["error.type"] = str(status)
        parent = None if trace.parent_id is None else _context(trace.trace_id, trace.parent_id, trace.state, is_remote=True)
        self._add(
            f"{known or 'HTTP'} {route}" if route else known or "HTTP", duration_s, attributes, kind=SpanKind.SERVER,
            context=_context(trace.trace_id, trace.span_id, trace.state), parent=parent, status=_FAILED if failed else _UNSET,
        )

    def batch_ended(self, batch: BatchReport) -> None:
        """A span for a batch that has a sampled request: in the trace of the first, linked to the others."""
        parents = [request.trace_parent for request in batch.requests if request.trace_parent is not None]
        if not parents:
            return
        ids = (parent.split("-") for parent in parents[:MOST_LINKS])
        first, *others = (_context(trace_id, span_id, "") for _, trace_id, span_id, _ in ids)
        attributes = {
            "db.system.name": "postgresql",
            "db.operation.batch.size": len(batch.requests),
            "ledgerd.longest_wait_s": max(batch.waited_s),
        }
        context = SpanContext(first.trace_id, int.from_bytes(os.urandom(8), "big"), False, _SAMPLED)
        self._add("post_transfers", batch.took_s, attributes, context=context, parent=first, links=others)

    def close(self, timeout_s: float) -> None:
        """Send what waits, for at most `timeout_s`; what has not been taken by then is lost."""
        flush = Thread(target=self._flush, name="last spans", daemon=True)
        flush.start()
        flush.join(timeout_s)
        if flush.is_alive():
            self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _flush(self) -> None:
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # OpenTelemetry's

    def _add(
        self, name: str, duration_s: float, attributes: dict[str, Any], *, context: SpanContext, parent: SpanContext | None,
        kind: SpanKind = SpanKind.INTERNAL, links: Sequence[SpanContext] = (), status: Status = _UNSET,
    ) -> None:
        ended_ns = time.time_ns()
        span = ReadableSpan(
            name, context, parent, self._resource, attributes, links=[Link(link) for link in links], kind=kind, status=status,
            start_time=ended_ns - int(duration_s * 1e9), end_time=ended_ns, instrumentation_scope=self._scope,
        )
        self._processor.on_end(span)


def _context(trace_id: str, span_id: str, state: str, *, is_remote: bool = False) -> SpanContext:
    passed = TraceState.from_header([state]) if state else None
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, _SAMPLED, passed)


def _remote_parent(sampled: bool) -> Any:
    """A parent that samplers see: all they ask of it is whether it is remote, and its flag."""
    return set_span_in_context(NonRecordingSpan(SpanContext(1, 1, True, _SAMPLED if sampled else _NOT_SAMPLED)))
