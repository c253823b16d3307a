"""Runs examinations one after the other, each bounded in time. One that fails or hangs is a finding and hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from service.concurrency.context import Context, background, with_timeout
from service.concurrency.promise import Promise
from service.concurrency.spawn import Tasks
from service.doctor.subject import NotExamined, Subject
from service.doctor.verdict import Finding, Verdict, problem, skipped
from service.errors import ConfigurationError, DeadlineExceeded, LedgerdError

LONGEST_S = 10.0  # then the context of an examination ends
GRACE_S = 3.0  # and then it is no longer waited for: a file system that hangs cannot be told to stop
SLOW_S = 1.0
NO_ANSWER = "see whether the database, the disk or the network stands still"

Verdicts = Verdict | list[Verdict]


@dataclass(frozen=True, slots=True)
class Examination:
    """A named question, and the function that answers it."""

    name: str
    ask: Callable[[Context, Subject], Verdicts]


@dataclass(frozen=True, slots=True)
class Group:
    """Examinations that belong together."""

    name: str
    examinations: tuple[Examination, ...]


def examine(
    groups: Iterable[Group], subject: Subject, slow: Callable[[str], None], *, longest_s: float = LONGEST_S
) -> Iterator[Finding]:
    """Each finding as it comes; `slow` hears of an examination that takes more than a second."""
    tasks = Tasks(background())
    try:
        for group in groups:
            for examination in group.examinations:
                verdicts = _run(tasks, examination, subject, slow, longest_s)
                for verdict in verdicts if isinstance(verdicts, list) else [verdicts]:
                    name = f"{examination.name} {verdict.about}" if verdict.about else examination.name
                    yield Finding(group.name, name, verdict.state, verdict.detail, verdict.hint)
    finally:
        tasks.stop(0)  # what hangs is left behind: it ends with the process


def _run(
    tasks: Tasks, examination: Examination, subject: Subject, slow: Callable[[str], None], longest_s: float
) -> Verdicts:
    answer: Promise[Verdicts] = Promise()

    def ask(_: Context) -> None:
        with with_timeout(background(), longest_s) as ctx:
            answer.keep(_verdicts(examination, ctx, subject))

    tasks.spawn(f"{examination.name} {id(answer)}", ask, restart=False)
    with with_timeout(background(), longest_s + GRACE_S) as ctx, with_timeout(ctx, SLOW_S) as soon:
        if not answer.wait(soon):
            slow(f"still examining {examination.name}, for {longest_s:g} s at most")
        if answer.wait(ctx):
            return answer.result()
    return problem(f"no answer within {longest_s:g} s", NO_ANSWER)


def _verdicts(examination: Examination, ctx: Context, subject: Subject) -> Verdicts:
    """What the examination says; that it could not be made is a verdict too."""
    try:
        return examination.ask(ctx, subject)
    except NotExamined as reason:
        return skipped(str(reason))
    except DeadlineExceeded:
        return problem("no answer in time", NO_ANSWER)
    except LedgerdError as error:
        return problem(f"it could not be examined: {error.message}", "")
    except ConfigurationError as error:
        return [problem(text, "") for text in error.problems]
    except Exception as error:  # noqa: BLE001  # the outermost of an examination: the others are made all the same
        return problem(f"it could not be examined: {type(error).__name__}: {error}", "this is a fault of `ledgerd check`")
