"""`make contract`: at least 5,000 requests made from the document, with a new seed each time, which is printed."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.contract.generated import run
from tests.serving import Serve

LEAST = 5_000


def main() -> int:
    """0 when no answer was outside the document."""
    with tempfile.TemporaryDirectory(prefix="ledgerd-contract-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Serve(folder / "data", LEDGERD_WORKERS="2").wait_ready() as serve:
            outcome = run(serve, folder, "--max-examples", "100", timeout_s=1500, show=True)
    if outcome.cases < LEAST:
        print(f"only {outcome.cases} requests were made, fewer than {LEAST}", file=sys.stderr)
        return 1
    return 0 if outcome.passed else 1


if __name__ == "__main__":
    sys.exit(main())
