"""`python -m service.server`: gunicorn with the settings of the environment, on DATABASE_URL."""

from __future__ import annotations

import os
import sys

from service.config import Config
from service.errors import ConfigurationError
from service.server.gunicorn import Server


def main() -> int:
    """Serve until a signal ends it."""
    try:
        config = Config.from_env(os.environ)
    except ConfigurationError as error:
        for problem in error.problems:
            print(f"ledgerd: {problem}", file=sys.stderr)
        return 2
    Server(config).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
