"""Examinations run one by one: one that fails, hangs or is slow hides no other; and the report about them."""

from __future__ import annotations

import io
import json
import threading
from typing import Any

from service.concurrency.context import Context
from service.config import Config
from service.doctor.connectivity import round_trip
from service.doctor.examine import Examination, Group, examine
from service.doctor.report import GROUPS, print_json, print_text, summary
from service.doctor.subject import NotExamined, Subject
from service.doctor.verdict import Finding, State, ok, warning
from service.errors import ConfigurationError
from service.repository.inspection import Inspection
from service.repository.queries import Queries, sql_folder
from tests.proxy import Proxy


def fails(_ctx: Context, _subject: Subject) -> Any:
    """A fault of the examination."""
    raise ZeroDivisionError("oh")


def refuses(_ctx: Context, _subject: Subject) -> Any:
    """What it looks at says no, twice."""
    raise ConfigurationError("one", "two")


def cannot(_ctx: Context, _subject: Subject) -> Any:
    """It has nothing to look at."""
    raise NotExamined("there is nothing")


def well(_ctx: Context, _subject: Subject) -> Any:
    """All is well, with two things."""
    return [ok("fine", about="one"), ok("fine", about="two")]


def found(*examinations: Any, subject: Subject | None = None, longest_s: float = 5, slow: Any = None) -> list[Finding]:
    """What the examinations of one group find."""
    group = Group("group", tuple(Examination(examination.__name__, examination) for examination in examinations))
    return list(examine([group], subject or Subject(config=Config()), slow or (lambda _: None), longest_s=longest_s))


def test_one_that_fails_hides_no_other() -> None:
    """Each failure is a finding with its reason; what comes after is examined."""
    assert [(f.name, f.state, f.detail) for f in found(fails, refuses, cannot, well)] == [
        ("fails", State.PROBLEM, "it could not be examined: ZeroDivisionError: oh"),
        ("refuses", State.PROBLEM, "one"),
        ("refuses", State.PROBLEM, "two"),
        ("cannot", State.SKIPPED, "not examined: there is nothing"),
        ("well one", State.OK, "fine"),
        ("well two", State.OK, "fine"),
    ]


def test_one_that_hangs_is_left_behind(monkeypatch: Any) -> None:
    """As a file system that does not answer; that it takes long is said meanwhile."""
    monkeypatch.setattr("service.doctor.examine.GRACE_S", 0.2)
    monkeypatch.setattr("service.doctor.examine.SLOW_S", 0.1)
    gate, said = threading.Event(), []

    def hangs(_ctx: Context, _subject: Subject) -> Any:
        gate.wait(60)
        return ok("at last")

    findings = found(hangs, well, longest_s=0.2, slow=said.append)
    gate.set()
    assert [f.state for f in findings] == [State.PROBLEM, State.OK, State.OK]
    assert findings[0].detail == "no answer within 0.2 s"
    assert said == ["still examining hangs, for 0.2 s at most"]


def test_a_database_that_stands_still_is_a_problem_in_time(database_url: str) -> None:
    """It took the connection and answers nothing: the examination ends, and so does the next."""
    with Proxy(database_url) as proxy:
        inspection = Inspection(proxy.url, sql_folder())
        inspection.connect()
        proxy.freeze()
        findings = found(round_trip, well, subject=Subject(config=Config(), inspection=inspection), longest_s=0.5)
        inspection.close()
    assert [f.state for f in findings] == [State.PROBLEM, State.OK, State.OK]


def test_every_query_is_used_and_every_name_is_one(database_url: str) -> None:
    """Names are what `--json` is searched by; a query that nobody asks for is a mistake."""
    names = [(group.name, examination.name) for group in GROUPS for examination in group.examinations]
    assert len(set(names)) == len(names) > 30
    inspection = Inspection(database_url, sql_folder())
    inspection.connect()
    subject = Subject(config=Config(database_url=database_url), inspection=inspection)
    findings = list(examine(GROUPS, subject, lambda _: None))
    queries: Queries = inspection._queries
    queries.take("replica_position")  # is asked of replicas, of which there is none here
    queries.take("primary_position")
    inspection.close()
    assert not [finding for finding in findings if finding.state in (State.SKIPPED, State.PROBLEM)]
    queries.check_all_taken()


def test_the_report_is_good_to_read() -> None:
    """Groups, columns, the hint below; what a group skips is one line."""
    findings = [
        Finding("a", "first", State.OK, "fine", ""),
        Finding("a", "second", State.WARNING, "hm", "look"),
        Finding("b", "third", State.SKIPPED, "not examined: gone", ""),
        Finding("b", "fourth", State.SKIPPED, "not examined: gone", ""),
    ]
    out, said = io.StringIO(), []
    counted = print_text({"A": 1, "B": None}, findings, out)
    assert out.getvalue().splitlines() == [
        "A=1",
        "B=",
        "",
        "a",
        "  ok       first                  fine",
        "  warning  second                 hm",
        "                                  → look",
        "",
        "b",
        "  skipped  …                      not examined: gone",
    ]
    assert summary(counted, said.append) == 0
    assert said == ["no problems, 1 warning, 1 ok, 2 not examined"]


def test_the_report_as_json() -> None:
    """Every finding with its five parts; a problem makes the status 1."""
    out, said = io.StringIO(), []
    counted = print_json({"A": 1}, [Finding("a", "b", State.PROBLEM, "c", "d"), Finding("a", "e", State.OK, "f", "")], out)
    assert json.loads(out.getvalue()) == {
        "configuration": {"A": 1},
        "examinations": [
            {"group": "a", "name": "b", "state": "problem", "detail": "c", "hint": "d"},
            {"group": "a", "name": "e", "state": "ok", "detail": "f", "hint": None},
        ],
        "summary": {"ok": 1, "skipped": 0, "warning": 0, "problem": 1},
    }
    assert summary(counted, said.append) == 1
    assert said == ["1 problem, no warnings, 1 ok"]


def test_a_warning_has_a_hint() -> None:
    """What is not well is told with what to do; the functions that make verdicts ask for it."""
    assert warning("w", "h").hint == "h"
