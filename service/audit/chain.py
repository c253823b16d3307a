"""Whether seals follow from each other, and which rows are not those that a seal has marked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from service.audit.findings import Finding, StoredSeal
from service.audit.seal import BEFORE_THE_FIRST, MARK_BYTES, seal_hash

Change = Literal["row_changed", "row_removed", "row_inserted"]


class Chain:
    """The seals of one ledger, shown one after the other."""

    def __init__(self, ledger_id: int, ledger: str) -> None:
        self._ledger_id = ledger_id
        self._ledger = ledger
        self.number = 0  # of the last one that was shown
        self._hash = BEFORE_THE_FIRST

    def show(self, seal: StoredSeal) -> list[Finding]:
        """What is wrong with `seal` as the one that follows; what is wrong with it alone is not blamed on the next."""
        found = []
        if seal.number != self.number + 1:
            missing = f"seal {self.number + 1}"
            found.append(Finding("seal_missing", self._ledger, None, None, self.number + 1, f"seal {seal.number}", missing))
        else:
            numbers = (self._ledger_id, seal.number, seal.first_id, seal.last_id, seal.transfers)
            own = seal_hash(numbers, rows_hash=seal.rows_hash, sealed_at=seal.sealed_at, previous_hash=self._hash)
            if own != seal.hash:
                hashes = f"hash {seal.hash.hex()}", f"hash {own.hex()}"
                found.append(Finding("seal_changed", self._ledger, None, None, seal.number, *hashes))
        self.number, self._hash = seal.number, seal.hash
        return found


def changes(stored: bytes, present: bytes) -> Iterator[tuple[Change, int]]:
    """How the rows differ from what was marked, in the order of their ids."""
    before, now = _marks(stored), _marks(present)
    for row_id in sorted(before.keys() | now.keys()):
        if row_id not in now:
            yield "row_removed", row_id
        elif row_id not in before:
            yield "row_inserted", row_id
        elif before[row_id] != now[row_id]:
            yield "row_changed", row_id


def _marks(text: bytes) -> dict[int, bytes]:
    starts = range(0, len(text), MARK_BYTES)
    return {int.from_bytes(text[at : at + 8], "big", signed=True): text[at + 8 : at + MARK_BYTES] for at in starts}
