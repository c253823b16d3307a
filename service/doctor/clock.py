"""Clocks: the host's against the database's, whether the kernel's is disciplined, and whether time runs evenly.

Transfers carry the database's time; deadlines, logs and webhook signatures the host's.
"""

from __future__ import annotations

import os
import time

from service.concurrency.context import Context
from service.concurrency.primitives import Parking
from service.doctor.examine import Examination, Group, Verdicts
from service.doctor.kernel import TIME_ERROR
from service.doctor.subject import Subject
from service.doctor.verdict import ok, problem, warning

READINGS = 7
SKEW_S = 1.0
GRAVE_SKEW_S = 5.0
JUMP_S = 0.1
SYNCHRONISE = "synchronise it: `timedatectl set-ntp true`, or chrony; `timedatectl timesync-status` shows how it is"


def skew(ctx: Context, subject: Subject) -> Verdicts:
    """The difference of the clocks, by the reading with the shortest round trip, less half of that."""
    readings = subject.database.clock_readings(ctx, subject.wall_clock, READINGS)
    before, server, after = min(readings, key=lambda reading: reading[2] - reading[0])
    ahead_s, uncertain_s = (before + after) / 2 - server, (after - before) / 2
    side = "ahead of" if ahead_s > 0 else "behind"
    text = f"the host is {abs(ahead_s):.3f} s {side} the database, ±{uncertain_s * 1000:.1f} ms"
    if abs(ahead_s) - uncertain_s > GRAVE_SKEW_S:
        return problem(text, SYNCHRONISE)
    if abs(ahead_s) - uncertain_s > SKEW_S:
        return warning(text, SYNCHRONISE)
    return ok(text)


def synchronised(_ctx: Context, subject: Subject) -> Verdicts:
    """What `timedatectl` calls "System clock synchronized" is this answer of the kernel."""
    state = subject.kernel_clock()
    if state < 0:
        return warning(f"cannot be told here: {os.strerror(-state)}", "look on the host itself: `timedatectl`")
    if state == TIME_ERROR:
        return warning("the kernel's clock is not synchronised with any time server", SYNCHRONISE)
    return ok("the kernel's clock is synchronised")


def even(ctx: Context, subject: Subject) -> Verdicts:
    """A wall clock that is set while ledgerd runs jumps; the steady one, which deadlines go by, must not."""
    wall, steady = subject.wall_clock(), subject.steady_clock()
    ctx.park(Parking(), JUMP_S)
    wall_s, steady_s = subject.wall_clock() - wall, subject.steady_clock() - steady
    if not time.get_clock_info("monotonic").monotonic or steady_s < JUMP_S / 2:
        return problem(f"the steady clock passed {steady_s:.3f} s in {JUMP_S} s", "deadlines cannot be kept on this machine")
    if abs(wall_s - steady_s) > JUMP_S:
        return warning(f"the wall clock jumped by {wall_s - steady_s:+.3f} s", "something sets it instead of slewing it")
    return ok("wall clock and steady clock run alike")


GROUP = Group("clock", (
    Examination("skew", skew), Examination("synchronised", synchronised), Examination("even", even),
))  # fmt: skip
