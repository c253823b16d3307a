"""Rows for a reader or, as JSON, for a program."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from service.commands.command import printing


def show_moment(moment: datetime | None) -> str | None:
    """To the second, in UTC; None where there is none."""
    return None if moment is None else moment.isoformat(timespec="seconds")


def print_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print all of each row as JSON, or its `columns` as a table; in that a list is shown with commas, and nothing as `-`."""
    with printing():
        if as_json:
            print(json.dumps(list(rows), indent=2))
            return
        cells = [[_cell(row[column]) for column in columns] for row in rows]
        widths = [max(len(column), *(len(row[n]) for row in cells), 0) for n, column in enumerate(columns)]
        for line in ([column.upper() for column in columns], *cells):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return "-" if value in (None, "") else str(value)
