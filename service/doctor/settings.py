"""The settings: each by itself, and taken together."""

from __future__ import annotations

from service.concurrency.context import Context
from service.doctor.examine import Examination, Group, Verdicts
from service.doctor.subject import Subject
from service.doctor.verdict import ok, problem

HINT = "docs/operations.md has each setting with its unit and default"


def values(_ctx: Context, subject: Subject) -> Verdicts:
    """Every problem that the configuration itself finds."""
    if subject.problems:
        return [problem(text, HINT) for text in subject.problems]
    return ok(f"all {len(subject.config.shown())} are acceptable")


GROUP = Group("settings", (Examination("settings", values),))
