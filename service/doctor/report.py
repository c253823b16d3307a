"""What `ledgerd check` prints: the settings, then each finding as it comes; or all of it as JSON at the end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

from service.doctor import clock, connectivity, files, limits, migrations, permissions, replication, settings
from service.doctor.verdict import Finding, State

GROUPS = (
    settings.GROUP, connectivity.GROUP, migrations.GROUP, permissions.GROUP, files.GROUP, clock.GROUP, replication.GROUP,
    limits.GROUP,
)  # fmt: skip
_COLOURS = {State.OK: "32", State.SKIPPED: "2", State.WARNING: "33", State.PROBLEM: "31"}
_NAME_WIDTH = 22
_STATE_WIDTH = 8


def print_text(shown: Mapping[str, object], findings: Iterable[Finding], out: TextIO) -> Counter[State]:
    """Print the settings and each finding; how many there are of each state. What a group skips is one line."""
    counted: Counter[State] = Counter()
    for name, value in shown.items():
        print(f"{name}={'' if value is None else value}", file=out)
    last: Finding | None = None
    for finding in findings:
        counted[finding.state] += 1
        if last is None or finding.group != last.group:
            print(f"\n{finding.group}", file=out)
        elif last.state is finding.state is State.SKIPPED and last.detail == finding.detail:
            continue
        last = finding
        _print(finding, out)
    return counted


def _print(finding: Finding, out: TextIO) -> None:
    state, name = f"{finding.state:{_STATE_WIDTH}}", f"{finding.name:{_NAME_WIDTH}}"
    if finding.state is State.SKIPPED:
        name = f"{'…':{_NAME_WIDTH}}"
    if out.isatty():
        state = f"\033[{_COLOURS[finding.state]}m{state}\033[0m"
    print(f"  {state} {name} {finding.detail}", file=out)
    if finding.hint:
        print(f"  {'':{_STATE_WIDTH}} {'':{_NAME_WIDTH}} → {finding.hint}", file=out)
    out.flush()


def print_json(shown: Mapping[str, object], findings: Iterable[Finding], out: TextIO) -> Counter[State]:
    """The same as one JSON object."""
    made = list(findings)
    counted = Counter(finding.state for finding in made)
    content = {
        "configuration": dict(shown),
        "examinations": [
            {"group": f.group, "name": f.name, "state": f.state, "detail": f.detail, "hint": f.hint or None} for f in made
        ],
        "summary": {state: counted[state] for state in State},
    }
    print(json.dumps(content, indent=2, ensure_ascii=False), file=out)
    return counted


def summary(counted: Counter[State], say: Callable[[str], None]) -> int:
    """Say how it went; the exit status."""
    problems, warnings = counted[State.PROBLEM], counted[State.WARNING]
    parts = [
        f"{problems or 'no'} problem{'' if problems == 1 else 's'}",
        f"{warnings or 'no'} warning{'' if warnings == 1 else 's'}",
        f"{counted[State.OK]} ok",
    ]
    if counted[State.SKIPPED]:
        parts.append(f"{counted[State.SKIPPED]} not examined")
    say(", ".join(parts))
    return int(bool(problems))
