"""`ledgerd check`: finds the subject, examines it, prints the report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from service.config import Config
from service.doctor.examine import examine
from service.doctor.report import GROUPS, print_json, print_text, summary
from service.doctor.subject import Subject
from service.errors import ConfigurationError
from service.repository.inspection import Inspection
from service.repository.queries import sql_folder
from service.server.supervisor import embedded
from service.telemetry.otel import export_problems


def check(env: Mapping[str, str], say: Callable[[str], None], *, as_json: bool) -> int:
    """Examine everything that `env` points to; 1 where there is a problem, else 0."""
    config, problems = Config.read(env)
    problems += export_problems(env)
    url, reason = database_of(config, problems)
    inspection = None if url is None else Inspection(url, sql_folder())
    subject = Subject(
        config=config, problems=tuple(problems), env=env, inspection=inspection, no_database=reason
    )
    try:
        findings = examine(GROUPS, subject, say)
        counted = (print_json if as_json else print_text)(config.shown(), findings, sys.stdout)
    finally:
        if inspection is not None:
            inspection.close()
    return summary(counted, say)


def database_of(config: Config, problems: list[str]) -> tuple[str | None, str]:
    """The address of the database to look at, or None and why there is none. Nothing is started for it."""
    if any(problem.startswith("DATABASE_URL") for problem in problems):
        return None, "DATABASE_URL cannot be used"
    if config.database_url is not None:
        return config.database_url, ""
    try:
        postgres = embedded(config)
        if postgres.is_running():
            return postgres.url, ""
    except ConfigurationError as error:
        return None, error.problems[0]
    return None, "the embedded PostgreSQL does not run, and nothing is started for this"
