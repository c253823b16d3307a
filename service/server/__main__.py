"""`python -m service.server`: what `ledgerd web` becomes, the web part alone, on the DATABASE_URL of the environment.

Neither this module nor what it imports may import the application, psycopg or service.concurrency: see the package.
"""

from __future__ import annotations

import os
import sys

from service.errors import ConfigurationError
from service.server.exit_status import ExitStatus
from service.server.gunicorn import Server


def main() -> int:
    """Serve until a signal ends it; see ExitStatus."""
    try:
        Server(os.environ).run()
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"ledgerd: {problem}", file=sys.stderr)
        return ExitStatus.PROBLEM
    return ExitStatus.STOPPED


if __name__ == "__main__":
    sys.exit(main())
