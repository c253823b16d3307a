"""`python -m service` is the same as the `ledgerd` command.

The command is imported when it is run: a process of a pool imports this module again, and needs nothing of all that.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command; returns its exit status."""
    from service.cli import main as run  # noqa: PLC0415  # see above

    return run()


if __name__ == "__main__":
    sys.exit(main())
