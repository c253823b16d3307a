"""Whether tables and functions are those of this version."""

from __future__ import annotations

from service.concurrency.context import Context
from service.doctor.examine import Examination, Group, Verdicts
from service.doctor.subject import Subject
from service.doctor.verdict import ok, problem, warning


def migrations(ctx: Context, subject: Subject) -> Verdicts:
    """Behind is a problem; ahead is what a release looks like to the version before."""
    found = subject.database.standing(ctx)
    if found.changed:
        names = ", ".join(f"{migration.version:04} {migration.name}" for migration in found.changed)
        return problem(f"changed after they were applied: {names}", "put the files back; a change is a new migration")
    if found.missing:
        names = ", ".join(f"{migration.version:04} {migration.name}" for migration in found.missing)
        return problem(f"behind this version; missing: {names}", "run `ledgerd migrate` (`ledgerd serve` does it too)")
    if found.ahead:
        numbers = ", ".join(f"{version:04}" for version in found.ahead)
        return warning(f"ahead of this version by {numbers}", "is this the version that is to run? Another one has migrated")
    return ok("current")


def functions(ctx: Context, subject: Subject) -> Verdicts:
    """The rules of money are a function, so the one that the server runs must be the one of this version."""
    found = subject.database.standing(ctx)
    if not found.other_functions:
        return ok("those of this version")
    names = ", ".join(found.other_functions)
    if found.ahead:
        return warning(f"not of this version: {names}", "a newer version has replaced them")
    return problem(
        f"missing, or not of this version: {names}",
        "run `ledgerd migrate`; where that finds nothing to do, somebody has replaced them by hand:"
        " DELETE FROM schema_functions, then migrate",
    )


GROUP = Group("migrations", (Examination("migrations", migrations), Examination("functions", functions)))
