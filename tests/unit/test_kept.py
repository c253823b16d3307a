"""What a worker keeps: bounded, for a time, and never what may be of before a change."""

from __future__ import annotations

from service.ledger.kept import FRESH_S, Kept
from tests.unit.credentials import Clock


def kept(most: int = 10, *, proved: bool = True, lifetime_s: float = 60.0) -> tuple[Kept[int, str], Clock]:
    """Empty, and its clock."""
    clock = Clock()
    return Kept(most=most, lifetime_s=lifetime_s, proved_within=lambda _: proved, clock=clock), clock


def test_an_entry_ends_with_its_lifetime_or_the_proof() -> None:
    """Whichever is first."""
    for proved, end in ((True, 60.0), (False, FRESH_S)):
        things, clock = kept(proved=proved)
        things.keep(1, "one", things.begin(1))
        clock.now = end - 0.01
        assert things.find(1) == "one"
        clock.now = end
        assert things.find(1) is None


def test_the_oldest_goes_that_was_not_used() -> None:
    """With no room at all, nothing is kept."""
    things, _ = kept(2)
    for key in (1, 2):
        things.keep(key, str(key), things.begin(key))
    assert things.find(1) == "1"
    things.keep(3, "3", things.begin(3))
    assert [things.find(key) for key in (1, 2, 3)] == ["1", None, "3"]
    nothing, _ = kept(0)
    nothing.keep(1, "one", nothing.begin(1))
    assert len(nothing) == 0


def test_a_lookup_that_began_before_a_change_is_not_kept() -> None:
    """Whether it is dropped, alone or with all, or replaced by this worker's own change."""
    things, _ = kept()
    for change in (lambda: things.drop(1), things.drop_all, lambda: things.keep_changed(1, "new", things.begin(1), 5)):
        begun = things.begin(1)
        change()
        things.keep(1, "old", begun)
        assert things.find(1) in (None, "new")


def test_the_later_of_two_lookups_stays() -> None:
    """Whichever ends first."""
    things, clock = kept()
    first = things.begin(1)
    clock.now = 0.1
    things.keep(1, "later", things.begin(1))
    things.keep(1, "earlier", first)
    assert things.find(1) == "later"


def test_of_two_changes_at_once_neither_is_kept_in_the_place_of_the_other() -> None:
    """Which was committed last is not known here."""
    things, _ = kept()
    one, other = things.begin(1), things.begin(1)
    things.keep_changed(1, "one", one, 5)
    things.keep_changed(1, "other", other, 6)
    assert things.find(1) is None


def test_the_notification_of_an_own_change_drops_nothing() -> None:
    """That of any other does."""
    things, _ = kept()
    things.keep_changed(1, "mine", things.begin(1), 5)
    things.drop(1, 5)
    assert things.find(1) == "mine"
    things.drop(1, 6)
    assert things.find(1) is None
