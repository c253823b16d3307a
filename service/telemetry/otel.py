"""Whether spans are to be exported, and whether they can be: by the extra `otel`, imported only where it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

_NEEDED = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
_PROTOCOL = "http/protobuf"


def export_problems(env: Mapping[str, str]) -> list[str]:
    """What keeps spans from being exported though `env` asks for it, one sentence each."""
    if not export_wanted(env):
        return []
    found = []
    protocol = env.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or env.get("OTEL_EXPORTER_OTLP_PROTOCOL") or _PROTOCOL
    if protocol != _PROTOCOL:
        found.append(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r}: ledgerd exports by {_PROTOCOL} alone")
    try:
        for package in _NEEDED:
            version(package)
    except PackageNotFoundError:
        found.append(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra that exports is not installed: pip install 'ledgerd[otel]',"
            " or unset it"
        )
    return found


def export_wanted(env: Mapping[str, str]) -> bool:
    """By OpenTelemetry's standard variables: an endpoint is named, and nothing switches it off."""
    endpoint = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    off = env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or env.get("OTEL_TRACES_EXPORTER") == "none"
    return bool(endpoint) and not off
