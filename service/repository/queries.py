"""SQL as named data: each `-- name: find_user` in sql/queries/*.sql begins a query of that name.

Every query is asked for by exactly the module that uses it, when it is made. A name that does not exist, or a query that
nobody asked for, is an error at start-up, not on the first request.
"""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)[ \t]*$", re.MULTILINE)


def sql_folder() -> Path:
    """Where the SQL files are: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    return package / "sql" if (package / "sql").is_dir() else package.parent / "sql"


class Queries:
    """The named queries of a folder."""

    def __init__(self, folder: Path) -> None:
        self._texts: dict[str, str] = {}
        self._taken: set[str] = set()
        for path in sorted(folder.glob("*.sql")):
            parts = _NAME.split(path.read_text("utf-8"))
            for name, text in zip(parts[1::2], parts[2::2], strict=True):
                if name in self._texts:
                    raise ValueError(f"{path.name}: the query {name} is defined twice")
                self._texts[name] = text.strip().rstrip(";")

    def take(self, name: str) -> str:
        """The text of the query `name`. Raises LookupError when there is none."""
        if name not in self._texts:
            raise LookupError(f"no query named {name} in sql/queries")
        self._taken.add(name)
        return self._texts[name]

    def check_all_taken(self) -> None:
        """Raise LookupError when a query is defined that nobody uses."""
        if unused := sorted(self._texts.keys() - self._taken):
            raise LookupError(f"queries in sql/queries that nothing uses: {', '.join(unused)}")
