"""Spans of a real server, at a real receiver of OTLP over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.acceptance.test_posting import open_accounts, post
from tests.client import HttpClient
from tests.serving import Serve, free_port, http_status, ledgerd, wait_until

TRACE_ID, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Receiver:
    """Takes spans, as a collector does; `resources` are those that they came with."""

    def __init__(self, *, stands_still: bool = False) -> None:
        receiver, self._goes_on = self, threading.Event()
        if not stands_still:
            self._goes_on.set()
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                told = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                receiver._goes_on.wait()
                for group in told.resource_spans:
                    receiver.resources.append({a.key: a.value.string_value for a in group.resource.attributes})
                    receiver.spans += [span for scope in group.scope_spans for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def named(self, name: str) -> list[Span]:
        return [span for span in list(self.spans) if span.name == name]

    def close(self) -> None:
        self._goes_on.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """One that answers at once."""
    made = Receiver()
    yield made
    made.close()


def serve(database_url: str, folder: Path, **settings: str) -> Serve:
    """A server with two workers that exports often."""
    return Serve(
        folder, DATABASE_URL=database_url, LEDGERD_WORKERS="2", LEDGERD_DB_MAX_OPEN="9", OTEL_BSP_SCHEDULE_DELAY="200",
        **settings,
    )


def attributes(span: Span) -> dict[str, Any]:
    """Of a span, by name."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def test_requests_and_batches_are_spans(database_url: str, tmp_path: Path, receiver: Receiver) -> None:
    """In the client's trace, with standard attributes and nothing secret; a batch is a child of a request in it."""
    with serve(database_url, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint) as server:
        key = server.wait_ready().key()
        client = HttpClient(server.port, key)
        source, target, _ = open_accounts(client, 3)
        reply = client.call(
            "POST", "/api/transfers", {"from_account_id": source, "to_account_id": target, "amount": 5},
            traceparent=f"00-{TRACE_ID}-{PARENT}-01", tracestate="vendor=1", Cookie="private",
        )
        assert reply.status == 201
        assert client.call("GET", "/api/users?email=private").status == 200
        assert client.call("GET", "/nowhere").status == 404
        client.close()
        wait_until(lambda: receiver.named("GET") and receiver.named("GET /api/users"), 20)
    (span,) = [span for span in receiver.named("POST /api/transfers") if span.trace_id.hex() == TRACE_ID]
    assert span.parent_span_id.hex() == PARENT
    assert span.kind == Span.SPAN_KIND_SERVER
    assert reply.headers["traceparent"] == f"00-{TRACE_ID}-{span.span_id.hex()}-01"
    assert span.trace_state == reply.headers["tracestate"] == "vendor=1"
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
    told = attributes(span)
    assert told["http.request.method"] == "POST"
    assert told["http.route"] == told["url.path"] == "/api/transfers"
    assert (told["http.response.status_code"], told["client.address"]) == (201, "127.0.0.1")
    assert told["ledgerd.request_id"] == reply.headers["X-Request-ID"]
    (batch,) = [batch for batch in receiver.named("post_transfers") if batch.trace_id.hex() == TRACE_ID]
    assert batch.parent_span_id == span.span_id
    assert attributes(batch)["db.operation.batch.size"] == 1
    assert receiver.resources[0]["service.name"] == "ledgerd"
    assert all(span.status.code == Status.STATUS_CODE_UNSET for span in receiver.named("GET /api/users"))
    everything = " ".join(map(str, receiver.spans))
    for secret in (key, key.rpartition("_")[2], "private", "email"):
        assert secret not in everything


def test_what_a_client_does_not_sample_is_not_exported(database_url: str, tmp_path: Path, receiver: Receiver) -> None:
    """OpenTelemetry's default: the parent decides. The last spans are sent when the server stops."""
    with serve(database_url, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_SERVICE_NAME="till") as server:
        client = HttpClient(server.wait_ready().port, server.key())
        quiet = client.call("GET", "/api/users", traceparent=f"00-{TRACE_ID}-{PARENT}-00")
        assert quiet.headers["traceparent"].endswith("-00")
        assert client.call("GET", "/api/accounts").headers["traceparent"].endswith("-01")
        client.close()
        assert server.stop() == 0
    assert receiver.named("GET /api/accounts")
    assert receiver.named("GET /api/users") == []
    assert receiver.resources[0]["service.name"] == "till"


def test_a_receiver_that_is_away_or_slow_holds_up_nobody(database_url: str, tmp_path: Path) -> None:
    """Requests are answered, and the server ends in time."""
    slow = Receiver(stands_still=True)
    try:
        for endpoint in (slow.endpoint, f"http://127.0.0.1:{free_port()}"):
            with serve(database_url, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="8",
                       OTEL_BSP_MAX_QUEUE_SIZE="16") as server:
                client = HttpClient(server.wait_ready().port, server.key(), timeout_s=10)
                source, target, _ = open_accounts(client, 3)
                for _ in range(50):
                    assert post(client, source, target, 1).status == 201
                client.close()
                assert http_status(f"http://127.0.0.1:{server.port}/readyz") == 200
                assert server.stop(timeout_s=20) == 0
    finally:
        slow.close()


@pytest.mark.parametrize("command", ["web", "check"])
def test_without_the_extra_it_does_not_start(command: str, database_url: str, tmp_path: Path) -> None:
    """One clear line, and no silent doing without."""
    metadata = tmp_path / "sitecustomize.py"
    metadata.write_text(
        "import importlib.metadata as m\n"
        "found = m.version\n"
        "def version(name):\n"
        "    if name.startswith('opentelemetry'):\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return found(name)\n"
        "m.version = version\n"
    )
    settings = {"DATABASE_URL": database_url, "LEDGERD_DATA_DIR": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    done = ledgerd(command, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", **settings)
    assert done.returncode == 1
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra that exports is not installed" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_another_protocol_is_refused() -> None:
    """Spans go by HTTP alone."""
    done = ledgerd("check", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert "OTEL_EXPORTER_OTLP_PROTOCOL='grpc'" in done.stdout
