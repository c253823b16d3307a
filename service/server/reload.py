"""A reload that is under way."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from service.config import Config


@dataclass(frozen=True)
class Reload:
    """The settings to go back to when it fails, how many new workers there are to be, and when it began."""

    config_before: Config
    wanted: int
    began_at: float = field(default_factory=time.monotonic)

    @property
    def age_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began_at
