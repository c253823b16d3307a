"""`make audit`: what bandit thinks of the code, and what is known of weaknesses in the libraries (pip-audit).

Findings fail it. pip-audit asks a service on the network; where none answers, that part says NOT RUN and why, and fails
nothing: a release must then be audited elsewhere. pip-audit itself calls that "no known vulnerabilities", hence this module.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ("bundle", "install", "release", "rollback", "uninstall")
CODE = ("service", "deploy", "wsgi.py", *(f"deploy/{name}" for name in SCRIPTS))
SERVICES = (("-s", "osv"), ("-s", "pypi"))
SOCKET_TIMEOUT_S = 10
LONGEST_S = 180
LONGEST_REASON = 160
_IGNORED = re.compile(r"(\S+)\s+(\S.*)")


@dataclass(frozen=True)
class Weakness:
    """A weakness under all its names."""

    names: frozenset[str]
    text: str


@dataclass
class Audit:
    """What came of asking about the libraries. `audited` is how many the service knew; `reason` why it was not asked."""

    audited: int = 0
    unknown: list[str] = field(default_factory=list)
    findings: list[Weakness] = field(default_factory=list)
    reason: str = ""


def ignored(text: str) -> dict[str, str]:
    """The ids of a file of findings to ignore, with their reasons. Raises ValueError for a line without a reason."""
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            match = _IGNORED.fullmatch(line.strip())
            if match is None:
                raise ValueError(f"line {number}: expected an id and the reason to ignore it")
            found[match[1]] = match[2]
    return found


def ask(requirements: Path, service: Iterable[str], longest_s: float = LONGEST_S) -> Audit:
    """Ask one service about every pinned library."""
    command = [
        sys.executable, "-m", "pip_audit", *service, "-r", str(requirements), "--no-deps", "--disable-pip", "-f", "json",
        "--progress-spinner", "off", "--timeout", str(SOCKET_TIMEOUT_S),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=longest_s, check=False)
    except subprocess.TimeoutExpired:
        return Audit(reason=f"no answer within {longest_s:g} s")
    try:
        content = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Audit(reason=last if len(last) <= LONGEST_REASON else f"{last[:LONGEST_REASON]}…")
    return read(content)


def read(content: Any) -> Audit:
    """What pip-audit's JSON says. A service that knows no single library has not been asked at all."""
    audit = Audit()
    for library in content["dependencies"]:
        name = f"{library['name']} {library.get('version', '')}".strip()
        if "skip_reason" in library:
            audit.unknown.append(name)
            audit.reason = library["skip_reason"]
            continue
        audit.audited += 1
        for weakness in library["vulns"]:
            fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
            names = frozenset([weakness["id"], *weakness.get("aliases", [])])
            audit.findings.append(Weakness(names, f"{name}: {weakness['id']}, fixed in {fixed}"))
    if audit.audited:
        audit.reason = ""
    return audit


def judge(audits: Iterable[Audit], excuses: dict[str, str]) -> int:
    """Print what was found, by the first service that was reached; 1 where something is not excused."""
    reasons = []
    for audit in audits:
        if not audit.audited:
            reasons.append(audit.reason)
            continue
        for name in audit.unknown:
            print(f"pip-audit: nothing is known of {name}")
        for excuse in excuses.keys() - frozenset().union(*(weakness.names for weakness in audit.findings)):
            print(f"pip-audit: {excuse} is no longer found: take it out of .audit-ignored")
        grave = [weakness for weakness in audit.findings if not weakness.names & excuses.keys()]
        for weakness in grave:
            print(f"pip-audit: {weakness.text}")
        print(f"pip-audit: {audit.audited} libraries, {len(grave)} findings, {len(audit.findings) - len(grave)} ignored")
        return int(bool(grave))
    print(f"NOT RUN: pip-audit, since no service that knows of weaknesses can be reached here: {'; '.join(reasons)}")
    return 0


def main() -> int:
    """Run both; the exit status: 0 where nothing was found, else 1."""
    command = [sys.executable, "-m", "bandit", "-q", "-c", "pyproject.toml", "-r", *CODE]
    bandit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    print(bandit.stdout + bandit.stderr if bandit.returncode else "bandit: no findings")
    excuses = ignored(ROOT.joinpath(".audit-ignored").read_text("utf-8"))
    libraries = judge((ask(ROOT / "constraints.txt", service) for service in SERVICES), excuses)
    return int(bool(bandit.returncode or libraries))


if __name__ == "__main__":
    sys.exit(main())
