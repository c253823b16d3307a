"""What an examination finds: that something is well, that it deserves a look, or that it is a problem; and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How grave it is. Only a problem makes the exit status 1. What was skipped is neither good nor bad."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`detail` says what is so, `hint` what to do about it. `about` tells several of one examination apart."""

    state: State
    detail: str
    hint: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict under the name of its group and examination."""

    group: str
    name: str
    state: State
    detail: str
    hint: str


def ok(detail: str, *, about: str = "") -> Verdict:
    """All is well."""
    return Verdict(State.OK, detail, about=about)


def skipped(reason: str) -> Verdict:
    """It could not be looked at, since something else is not there."""
    return Verdict(State.SKIPPED, f"not examined: {reason}")


def warning(detail: str, hint: str, *, about: str = "") -> Verdict:
    """It works, but deserves a look."""
    return Verdict(State.WARNING, detail, hint, about)


def problem(detail: str, hint: str, *, about: str = "") -> Verdict:
    """It does not work, or money is at risk."""
    return Verdict(State.PROBLEM, detail, hint, about)
