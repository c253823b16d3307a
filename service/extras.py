"""Parts of ledgerd that are installed only where they are wanted: which of them are here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_GRPC = ("googleapis-common-protos", "grpcio", "grpcio-health-checking", "grpcio-reflection", "protobuf")


def grpc_problems() -> list[str]:
    """Why gRPC cannot be served by this installation, in a sentence; nothing where it can."""
    try:
        for package in _GRPC:
            version(package)
    except PackageNotFoundError:
        return ["gRPC is served by the extra `grpc`, which is not installed: pip install 'ledgerd[grpc]'"]
    return []
