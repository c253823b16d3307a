"""The folder of what the processes of a host share while they run. Nothing in it is worth keeping over a reboot."""

from __future__ import annotations

import os
from pathlib import Path

from service.errors import ConfigurationError


def make_run_folder(folder: Path) -> Path:
    """Make `folder`, for this user alone, where there is none. Raises ConfigurationError where it cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise unusable(folder, exc) from exc
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(f"LEDGERD_RUN_DIR={folder}: this user may not write there; choose a folder of their own")
    return folder


def unusable(folder: Path, exc: OSError) -> ConfigurationError:
    """The error for a folder that cannot be used."""
    return ConfigurationError(f"LEDGERD_RUN_DIR={folder}: {exc.strerror or exc}; ledgerd needs a folder of its own there")
