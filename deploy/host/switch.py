"""The change from the live instance to the other one, on the socket that both share: no request is lost on the way.

The new one accepts as soon as it is ready, beside the old one. Only then is the old one told to stop: it finishes what it
has, and what waits on the socket is answered by the new one. Until the old one has gone, going back costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from host import units
from host.bundle import run
from host.digests import check_digests
from host.layout import LIVE, OPT, Refused, other_colour, point, release_of


def switch(old: str, release: Path, say: Callable[[str], None]) -> None:
    """Make `release` live in place of the instance of colour `old`.

    Raises Refused when it differs from its digests or does not become ready; then `old` serves on as if nothing had been.
    """
    check_digests(release)
    new = other_colour(old)
    before = release_of(OPT / new)
    try:
        _bring_up(new, release, say)
    except BaseException:
        say(f"going back: {old} serves on")
        _take_down(new)
        _restore(old)
        if before is not None:
            point(OPT / new, before.relative_to(OPT))  # what a rollback goes back to
        raise
    _make_live(new, old)
    say(f"{new} is live; stopping {old}, which finishes its requests")
    with_grpc = units.is_active(units.GRPC)
    try:
        units.systemctl("stop", units.web(old))
        units.probe()
        if with_grpc:
            say("restarting gRPC, which finishes its calls")
            units.start(units.GRPC, again=True)
        _restart_dispatcher(say)
    except BaseException:
        say(f"going back: starting {old} again")
        _restore(old)
        units.start(units.web(old))
        _make_live(old, new)
        if with_grpc:
            run("systemctl", "restart", units.GRPC)
        _restart_dispatcher(say)
        _take_down(new)
        raise


def _restart_dispatcher(say: Callable[[str], None]) -> None:
    """Let it follow the live instance, where it runs. No release fails for it: what it does not deliver now, it does later."""
    if run("systemctl", "try-restart", units.DISPATCHER).returncode != 0:
        say(f"{units.DISPATCHER} did not start again, so no webhooks are delivered. Its last words:")
        say(units.last_words(units.DISPATCHER))


def _bring_up(colour: str, release: Path, say: Callable[[str], None]) -> None:
    units.systemctl("stop", units.web(colour), units.migration(colour))
    run("systemctl", "reset-failed", units.web(colour), units.migration(colour))
    point(OPT / colour, release.relative_to(OPT))
    units.copy_files(release)
    say(f"migrating for {release.name}")
    units.start(units.migration(colour))
    say(f"starting {colour} with {release.name}")
    unit = units.web(colour)
    units.start(unit)
    units.probe()
    if not units.is_active(unit):
        raise Refused(f"{unit} ended right after it was ready. Its last words:\n{units.last_words(unit)}")


def _take_down(colour: str) -> None:
    run("systemctl", "stop", units.web(colour), units.migration(colour))
    run("systemctl", "reset-failed", units.web(colour), units.migration(colour))


def _restore(old: str) -> None:
    """Give the old version its units back, and its SQL functions, which the new version's migration has replaced."""
    release = release_of(OPT / old)
    assert release is not None, "the live instance has a release"
    units.copy_files(release)
    run("systemctl", "restart", units.migration(old))


def _make_live(new: str, old: str) -> None:
    point(LIVE, new)
    units.systemctl("enable", "--quiet", units.web(new))
    units.systemctl("disable", "--quiet", units.web(old))
