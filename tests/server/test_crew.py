"""The arbiter's books about its workers, without any process."""

from __future__ import annotations

from service.server.crew import LONGEST_PAUSE_S, MOST_FAILURES, Crew


def test_the_pause_after_failed_starts_doubles_up_to_a_bound() -> None:
    """0.5 s, 1 s, 2 s … 30 s, and none again after a worker that came up."""
    crew, now, pauses = Crew(boot_timeout_s=60), 0.0, []
    for pid in range(10):
        crew.add(pid, now)
        crew.remove(pid, now)
        step = 0.25
        while crew.missing(1, now + step) == 0:
            step += 0.25
        pauses.append(step)
        now += step
    assert pauses[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses[-1] == LONGEST_PAUSE_S
    crew.add(10, now)
    crew.up(10)
    crew.remove(10, now)
    assert crew.missing(1, now) == 1


def test_starting_is_hopeless_only_while_nobody_serves() -> None:
    """Any number of failures does not count against a worker that serves."""
    crew = Crew(boot_timeout_s=60)
    crew.add(1, 0.0)
    crew.up(1)
    for pid in range(2, 2 + MOST_FAILURES):
        assert not crew.hopeless
        crew.add(pid, 0.0)
        crew.remove(pid, 0.0)
    assert not crew.hopeless
    crew.remove(1, 0.0)
    assert crew.hopeless


def test_a_worker_that_was_told_to_end_did_not_fail() -> None:
    """Nor does it count as missing before it is gone, or as late."""
    crew = Crew(boot_timeout_s=60)
    crew.add(1, 0.0)
    crew.members[1].ends_since = 1.0
    assert crew.missing(1, 2.0) == 1
    assert crew.late(100.0) == []
    crew.remove(1, 2.0)
    assert crew.failures == 0


def test_late_is_who_is_not_up_in_time() -> None:
    """Exactly those, from the bound on."""
    crew = Crew(boot_timeout_s=60)
    crew.add(1, 0.0)
    crew.add(2, 0.0)
    crew.up(1)
    assert crew.late(60.0) == []
    assert [member.pid for member in crew.late(60.1)] == [2]


def test_ready_is_when_somebody_serves_and_nobody_still_starts() -> None:
    """A worker that failed and waits for its next start does not hold it up."""
    crew = Crew(boot_timeout_s=60)
    assert not crew.ready
    crew.add(1, 0.0)
    crew.add(2, 0.0)
    crew.up(1)
    assert not crew.ready
    crew.remove(2, 0.0)
    assert crew.ready


def test_no_number_of_failures_is_too_many() -> None:
    """A night of failed starts is some thousand of them."""
    crew = Crew(boot_timeout_s=60)
    for now in range(2_000):
        crew.fail(now)
    assert crew.failures == 2_000
