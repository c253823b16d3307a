"""What is said of a first line that another program's idea of comma-separated values is to blame for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.api.line_forms import Csv
from service.errors import InvalidInput

COMMAS = "The columns are separated by commas."
ENDS = "Lines end with LF or CRLF, not with CR alone."
NAMES = b"from_account_id,to_account_id,amount"


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([b"from_account_id;to_account_id;amount\n1;2;5\n"], COMMAS),
        ([b"from_account_id\tto_account_id\tamount\r\n1\t2\t5\r\n"], COMMAS),
        ([NAMES.replace(b",", b";")], COMMAS),
        ([NAMES + b"\r1,2,5\r"], ENDS),
        ([NAMES + b"\r", b"1,2,5\r"], ENDS),
        ([NAMES + b"\r" + b"1,2,5\r" * 30_000], ENDS),
    ],
)
def test_another_separator_or_end_of_lines_is_named(pieces: Sequence[bytes], told: str) -> None:
    """In the message, and in that of the field."""
    with pytest.raises(InvalidInput) as raised:
        list(Csv().lines(pieces))
    assert raised.value.message.startswith("The first line is not acceptable: ")
    assert raised.value.message.endswith(told)
    assert raised.value.fields[0].message.endswith(told)


def test_a_wrong_name_alone_has_no_such_hint() -> None:
    """Nor have semicolons below the first line anything to do with it."""
    with pytest.raises(InvalidInput) as raised:
        list(Csv().lines([b"from_account_id,to_account_id,sum\n1,2,;\n"]))
    assert raised.value.message == (
        "The first line is not acceptable: There is no column 'sum'. The column 'amount' is missing."
    )


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_lines_come_whole_out_of_pieces_of_any_size(end: bytes, size: int) -> None:
    """The first piece is looked at, and still read."""
    text = NAMES + end + b"1,2,5" + end + b"2,1,4" + end
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    form = Csv()
    assert [(number, form.read(line)["amount"]) for number, line in form.lines(pieces) if isinstance(line, bytes)] == [
        (2, 5), (3, 4),
    ]
