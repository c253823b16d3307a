"""The generated code is what the protos make, and the protos say what is served."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from service.app import Application
from service.rpc.services import methods
from service.rpc.v1 import ledger_pb2, users_pb2

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "service" / "rpc" / "v1"


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    """`make proto` changes nothing, byte for byte."""
    subprocess.run([sys.executable, ROOT / "proto" / "generate", tmp_path], check=True, timeout=60)
    made = {path.name: path.read_bytes() for path in tmp_path.glob("*.py*")}
    assert made == {path.name: path.read_bytes() for path in GENERATED.glob("*.py*")}


def test_every_method_of_the_protos_is_served(application: Application) -> None:
    """And each with the messages that the protos say."""
    served = methods(application.routes)
    declared = {
        f"/{service.full_name}/{method.name}": (method.input_type.name, method.output_type.name)
        for module in (users_pb2, ledger_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if not method.server_streaming
    }
    assert declared == {
        path: (method.request.DESCRIPTOR.name, method.answer.DESCRIPTOR.name) for path, method in served.items()
    }


def test_every_field_of_a_route_has_its_place_in_the_message(application: Application) -> None:
    """A member of the body or a parameter that HTTP takes, gRPC takes: none was forgotten when it was added there."""
    for path, method in methods(application.routes).items():
        fields = {field.removeprefix("without_") for field in method.request.DESCRIPTOR.fields_by_name}
        fields |= {{"since": "from", "until": "to"}.get(field, field) for field in fields}
        body = getattr(method.route.body, "fields", {})
        assert {*body, *(parameter.name for parameter in method.route.query)} <= fields, path
