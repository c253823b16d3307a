"""A real `ledgerd grpc` in a process of its own."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.serving import LEDGERD, clean_env, free_port, wait_until


class ServeGrpc:
    """On a free port, or that of an earlier one; leave it with `stop` or in a `with` statement."""

    def __init__(self, data_dir: Path, database_url: str, port: int | None = None, **settings: str) -> None:
        self.port = port or free_port()
        self.log = data_dir / f"grpc-{self.port}.log"
        bind = f"127.0.0.1:{self.port}"
        named = {"LEDGERD_DATA_DIR": str(data_dir), "LEDGERD_GRPC_BIND": bind, "DATABASE_URL": database_url}
        env = clean_env(**{**named, "LEDGERD_LOG_LEVEL": "warning", **settings})
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*LEDGERD, "grpc"], env=env, stdout=log, stderr=log)

    def wait_ready(self, timeout_s: float = 60) -> ServeGrpc:
        """Return when its health says so. Raises AssertionError with the log when it does not come up."""
        wait_until(self.serves, timeout_s, lambda: f"not ready; its log:\n{self.log.read_text()}")
        return self

    def serves(self) -> bool:
        """What its health says."""
        assert self.process.poll() is None, f"it ended by itself:\n{self.log.read_text()}"
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", (("grpc.use_local_subchannel_pool", 1),)) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 60) -> int:
        """Send a signal and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def __enter__(self) -> ServeGrpc:
        return self

    def __exit__(self, *_exc: Any) -> None:
        try:
            self.stop()
        finally:
            self.process.kill()
            self.process.wait()
