"""An answer, however it was asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reply:
    """An answer; `json` is None when it has no body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body) if self.body else None

    @property
    def code(self) -> str | None:
        """The error code, None for a success."""
        return self.json.get("code") if isinstance(self.json, dict) else None

    @property
    def fields(self) -> list[str]:
        """The fields that the error blames."""
        return [error["field"] for error in self.json.get("errors", [])]
