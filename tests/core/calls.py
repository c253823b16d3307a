"""A call in a thread of its own, and what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Call:
    """`task(*args)`, begun at once."""

    def __init__(self, task: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self._task = lambda: task(*args, **kwargs)
        self.value: Any = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="call", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.value = self._task()
        except BaseException as error:  # noqa: BLE001  # raised by result()
            self.error = error

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return not self._thread.is_alive()

    def result(self) -> Any:
        """What it returned; raises what it raised."""
        self._thread.join(20)
        assert self.ended, "the call did not end"
        if self.error is not None:
            raise self.error
        return self.value
