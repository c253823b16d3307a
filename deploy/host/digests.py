"""The digests of a release: made by its own `ledgerd digest` when it is whole, and compared before it becomes live."""

from __future__ import annotations

from pathlib import Path

from host.bundle import DIGESTS, first_line, run
from host.layout import Refused


def check_digests(release: Path) -> None:
    """Raises Refused with the first file that is missing or differs; a release of a version without digests passes."""
    if not (release / DIGESTS).exists():
        return
    done = run(str(release / "bin" / "ledgerd"), "digest", str(release), "--check", str(release / DIGESTS))
    if done.returncode != 0:
        said = first_line(done.stderr) or f"status {done.returncode}"
        raise Refused(f"{release} differs from its {DIGESTS}: {said}. Remove it, and release it from its bundle again")
