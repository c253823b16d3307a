"""A WSGI application that answers some requests from their head alone, for tests of the loop in front of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any


class Knowing:
    """`at_once` answers below /known, nothing else, and fails at /known/broken; all else tells that it was called."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        body = json.dumps({"called": environ["PATH_INFO"], "body": environ["wsgi.input"].read().decode()}).encode()
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    def at_once(self, method: str, path: str, fields: Any, base: Mapping[str, Any]) -> tuple[str, str, bytes] | None:
        """What the loop asks first."""
        if path == "/known/broken":
            raise RuntimeError("broken")
        if not path.startswith("/known"):
            return None
        fields.facts["times"] = fields.facts.get("times", 0) + 1
        told = {
            "method": method, "path": path, "host": fields.environ["HTTP_HOST"], "peer": base["REMOTE_ADDR"],
            "times": fields.facts["times"],
        }
        body = json.dumps(told).encode()
        return "203 Non-Authoritative Information", f"Content-Length: {len(body)}\r\nX-Known: yes\r\n", body


application = Knowing()
