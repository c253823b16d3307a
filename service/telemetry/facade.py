"""All that a process tells of itself, for the composition root to pass on: logs, metrics and traces in one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from service.concurrency.primitives import monotonic
from service.concurrency.spawn import TaskStatus
from service.errors import ConfigurationError
from service.ledger.posting import BatchReport
from service.middleware.access_log import access_log
from service.middleware.observation import Ended
from service.middleware.tracing import Sample, as_the_parent_says
from service.telemetry.gathered import Gathered
from service.telemetry.metrics import Metrics
from service.telemetry.no_metrics import NoMetrics, Queue
from service.telemetry.otel import export_problems, export_wanted
from service.telemetry.output import standard_error
from service.telemetry.request_log import request_logger

if TYPE_CHECKING:
    from service.telemetry.spans import Spans

FLUSH_S = 3.0  # at most, for the last spans when a process ends


class Telemetry:
    """What is told of a process. `metrics` has the callables for what is counted; `close` sends the last spans."""

    def __init__(self, *, log_level: str, metrics: bool, env: Mapping[str, str] = os.environ) -> None:
        """`env` has what other programs' conventions put there: the metrics' folder, OpenTelemetry's variables.

        Raises ConfigurationError when spans are to be exported and cannot be.
        """
        self.metrics: NoMetrics = Metrics(env) if metrics else NoMetrics()
        self._spans = _open_spans(env)
        self._log_level = log_level
        self._request_lines = Gathered(standard_error())

    @property
    def sample(self) -> Sample:
        """For middleware.tracing."""
        return as_the_parent_says if self._spans is None else self._spans.sample

    def observers(self) -> Sequence[Ended]:
        """For middleware.observation: those who are told of every answer."""
        observers: list[Ended] = [access_log(request_logger(self._log_level, self._request_lines))]
        if isinstance(self.metrics, Metrics):
            observers.append(self.metrics.request_ended)
        if self._spans is not None:
            observers.append(self._spans.request_ended)
        return observers

    def batch_ended(self, batch: BatchReport) -> None:
        """For the posting lanes."""
        self.metrics.batch_ended(batch)
        if self._spans is not None:
            self._spans.batch_ended(batch)

    def watch(self, *, queue: Callable[[], Queue], tasks: Callable[[], Iterable[TaskStatus]]) -> None:
        """Read these about once a second, and what becomes of log lines."""
        self.metrics.watch_queue(queue)
        self.metrics.watch_tasks(tasks)
        self.metrics.watch_dropped_lines(lambda: standard_error().dropped)

    def close(self, timeout_s: float) -> None:
        """Write what was counted, and send the last spans, within `timeout_s` and FLUSH_S."""
        end = monotonic() + min(timeout_s, FLUSH_S)
        self.metrics.refresh()
        self._request_lines.close()
        if self._spans is not None:
            self._spans.close(max(end - monotonic(), 0.0))


def _open_spans(env: Mapping[str, str]) -> Spans | None:
    if not export_wanted(env):
        return None
    if problems := export_problems(env):
        raise ConfigurationError(*problems)
    from service.telemetry.spans import Spans  # only with the extra, and only where it is wanted: it takes 15 MB

    return Spans()
