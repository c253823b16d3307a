"""`python -m service` is the same as the `ledgerd` command."""

import sys

from service.cli import main

if __name__ == "__main__":
    sys.exit(main())
