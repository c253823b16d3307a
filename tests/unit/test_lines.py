"""Lines and records out of pieces of a file: the same wherever it is cut, and none that harms another."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api import lines
from service.api.lines import MOST_LINE, Fault, in_chunks, join_quoted, split_lines


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces, some of them empty."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[first:last] for first, last in pairwise(edges)]


@given(
    data=st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"bc", b'"', b"\n\n"])),
    places=st.lists(st.integers(0, 99), max_size=5),
)
def test_lines_are_those_of_the_whole(data: list[bytes], places: list[int]) -> None:
    """Wherever the pieces end; a line feed at the very end begins no line."""
    whole = b"".join(data)
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert list(split_lines(cut(whole, places))) == list(enumerate(expected, 1))


def test_a_byte_order_mark_is_passed_over_once() -> None:
    """At the beginning alone."""
    mark = b"\xef\xbb\xbf"
    assert [line for _, line in split_lines([mark + b"a\n" + mark + b"b"])] == [b"a", mark + b"b"]
    assert list(split_lines([mark[:1], mark[1:], b"x"])) == [(1, b"x")]


@pytest.mark.parametrize("piece", [1000, 64 * 1024, 10 * MOST_LINE])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_line_too_long_is_told_and_not_kept(piece: int, at_the_end: bool) -> None:
    """Of any length, in its place; the lines around it are whole."""
    whole = b"a\n" + b"x" * (3 * MOST_LINE) + (b"" if at_the_end else b"\nb\n")
    found = list(split_lines(whole[at : at + piece] for at in range(0, len(whole), piece)))
    assert found[0] == (1, b"a")
    assert isinstance(found[1][1], Fault)
    assert found[2:] == ([] if at_the_end else [(3, b"b")])
    assert list(split_lines([b"x" * MOST_LINE])) == [(1, b"x" * MOST_LINE)]


CELLS = st.text(alphabet='ab",\n ', max_size=6)


@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=6))
def test_records_are_those_of_the_csv_module(rows: list[list[str]]) -> None:
    """With quotes, commas and line feeds in them, and the number of the line at which each begins."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    records = list(join_quoted(split_lines([text.getvalue().encode()])))
    assert [next(csv.reader([record.decode()], strict=True)) for _, record in records] == rows
    begins = 1
    for (number, record), _ in zip(records, rows, strict=True):
        assert number == begins
        begins += record.count(b"\n") + 1


@pytest.mark.parametrize("following", [0, 1, 50])
def test_a_quote_that_is_never_closed_harms_its_line_alone(following: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the file, or where more follows than a record may have."""
    monkeypatch.setattr(lines, "MOST_LINE", 100)
    more = [b"1,2,%d" % n for n in range(following)]
    found = list(join_quoted(split_lines([b"\n".join([b"a,b", b'1,"x', *more])])))
    assert found[0] == (1, b"a,b")
    assert isinstance(found[1][1], Fault)
    assert found[2:] == list(enumerate(more, 3))


@pytest.mark.parametrize("stray", [b'5" pipe', b'"open'])
def test_quotes_that_stand_where_none_can_harm_their_lines_alone(stray: bytes) -> None:
    """Though the next stray quote would close the first: the lines between them are whole."""
    text = [b"1,2", b"1," + stray, b"3,4", b"5,6", b"7," + stray, b"8,9"]
    found = list(join_quoted(split_lines([b"\n".join(text)])))
    assert [number for number, _ in found] == [1, 2, 3, 4, 5, 6]
    assert [line for _, line in found if not isinstance(line, Fault)] == [b"1,2", b"3,4", b"5,6", b"8,9"]


def test_a_fault_between_quotes_is_told_as_well() -> None:
    """The record that it is in is none, and the line is at fault by itself."""
    found = list(join_quoted([(1, b'"x'), (2, Fault("bad")), (3, b'y"'), (4, b"z")]))
    assert [(number, type(text)) for number, text in found] == [(1, Fault), (2, Fault), (3, Fault), (4, bytes)]


def test_chunks_are_of_one_size() -> None:
    """But for the last."""
    assert [len(chunk) for chunk in in_chunks(((n, b"") for n in range(7)), 3)] == [3, 3, 1]
    assert list(in_chunks((), 3)) == []
