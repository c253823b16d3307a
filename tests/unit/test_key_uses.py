"""When keys were last used: in memory first, written together, and not lost to an outage."""

from __future__ import annotations

from collections.abc import Sequence

from service.concurrency.context import Context, background
from service.concurrency.spawn import Tasks
from service.errors import Unavailable
from service.ledger.key_uses import KeyUse, KeyUses
from service.ledger.principal import Principal
from tests.unit.credentials import Clock


class Table:
    """A KeyUseStore that remembers, or is away."""

    def __init__(self) -> None:
        self.written: list[list[KeyUse]] = []
        self.away = False

    def note_key_uses(self, ctx: Context, uses: Sequence[KeyUse], not_within_s: float) -> None:
        ctx.check()
        if self.away:
            raise Unavailable("away")
        self.written.append(list(uses))


def test_the_last_use_of_each_key_is_written_once() -> None:
    """With its age, so that no clock but the database's matters."""
    table, clock = Table(), Clock()
    uses = KeyUses(clock)
    for now, name in ((1.0, "a"), (2.0, "b"), (5.0, "a")):
        uses.note(Principal(1, name, frozenset()), now)
    clock.now = 6.0
    uses.write(background(), table)
    uses.write(background(), table)
    assert table.written == [[KeyUse(1, "a", 1.0), KeyUse(1, "b", 4.0)]]


def test_what_could_not_be_written_is_written_later() -> None:
    """Unless the key was used again meanwhile, which counts then."""
    table, clock = Table(), Clock()
    uses = KeyUses(clock)
    uses.note(Principal(1, "a", frozenset()), 0.0)
    uses.note(Principal(1, "b", frozenset()), 0.0)
    table.away = True
    uses.write(background(), table)
    table.away = False
    uses.note(Principal(1, "b", frozenset()), 9.0)
    clock.now = 10.0
    uses.write(background(), table)
    assert table.written == [[KeyUse(1, "a", 10.0), KeyUse(1, "b", 1.0)]]


def test_the_task_writes_once_more_at_its_end() -> None:
    """What was used since the last time is not lost at a stop."""
    table = Table()
    uses = KeyUses(Clock())
    tasks = Tasks(background())
    tasks.spawn("key uses", lambda ctx: uses.run(ctx, table))
    uses.note(Principal(1, "a", frozenset()), 0.0)
    assert tasks.stop(10) == []
    assert table.written == [[KeyUse(1, "a", 0.0)]]
