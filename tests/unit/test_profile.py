"""`make profile`: what py-spy's stacks say of each function."""

from __future__ import annotations

from tests.bench.profile import by_function, table

STACKS = """run (loop.py:10);answer (app.py:3);read (app.py:7) 6
run (loop.py:10);answer (app.py:4);read (app.py:8);read (app.py:8) 1
run (loop.py:12) 3
"""


def test_time_is_counted_by_function_whatever_its_line() -> None:
    """Itself, and with all that it calls; once, also where it calls itself."""
    assert by_function(STACKS) == (10, [("read (app.py)", 7, 7), ("run (loop.py)", 3, 10), ("answer (app.py)", 0, 7)])


def test_the_busiest_function_is_the_first_line_of_the_table() -> None:
    """As a share of all samples."""
    assert table(STACKS).splitlines()[1].split() == ["70.0%", "70.0%", "read", "(app.py)"]
