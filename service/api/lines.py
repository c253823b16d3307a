"""Lines of any number out of a stream of bytes: numbered from 1, each of a bounded length, and in chunks of a fixed number.

What is wrong with a line is told in its place and harms no other: a `Fault` instead of its bytes.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator

MOST_LINE = 128 * 1024  # bytes: all that a transfer can have, were each character of its metadata escaped
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Fault(str):
    """What is wrong with a line, in a sentence."""

    __slots__ = ()


Line = tuple[int, bytes | Fault]
_TOO_LONG = Fault(f"The line is longer than {MOST_LINE} bytes.")
_STRAY = Fault("A quote stands where none can: a field that has one is put in quotes, with each quote in it doubled.")
_UNCLOSED = Fault(f"A quote is opened that is not closed within {MOST_LINE} bytes.")


def split_lines(pieces: Iterable[bytes]) -> Iterator[Line]:
    """The lines with their numbers, without the line feed. A byte order mark at the beginning is passed over."""
    number, rest, is_too_long = 0, b"", False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            number += 1
            yield number, _TOO_LONG if is_too_long or len(line) > MOST_LINE else _without_mark(number, line)
            is_too_long = False
        if len(rest) > MOST_LINE:
            rest, is_too_long = b"", True  # no more of it is kept
    if rest or is_too_long:
        yield number + 1, _TOO_LONG if is_too_long else _without_mark(number + 1, rest)


def join_quoted(lines: Iterable[Line]) -> Iterator[Line]:
    """The records of comma-separated values (RFC 4180), each with the number of its first line: quotes may hold line feeds.

    Where a quote is not closed, or stands where none can, that line alone is at fault, and the next one begins another record.
    """
    source = iter(lines)
    again: deque[Line] = deque()

    def take() -> Line | None:
        return again.popleft() if again else next(source, None)

    while (line := take()) is not None:
        number, text = line
        if isinstance(text, Fault) or text.count(b'"') % 2 == 0:
            yield line
            continue
        record, taken, is_closed = bytearray(text), [], False
        while not is_closed and len(record) <= MOST_LINE and (following := take()) is not None:
            taken.append(following)
            more = following[1]
            if isinstance(more, Fault):
                break
            record += b"\n" + more
            is_closed = more.count(b'"') % 2 == 1
        whole = bytes(record) if is_closed and len(record) <= MOST_LINE else None
        if whole is not None and _is_one_record(whole):
            yield number, whole
        else:
            yield number, _UNCLOSED if whole is None else _STRAY
            again.extendleft(reversed(taken))


def in_chunks(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    """`size` lines each, the last one fewer."""
    chunk: list[Line] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _without_mark(number: int, line: bytes) -> bytes:
    return line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line


def _is_one_record(record: bytes) -> bool:
    """Whether its quotes are where quotes can be: else lines that stand alone were joined by quotes within them."""
    try:
        return len(list(csv.reader([record.decode("utf-8", "replace")], strict=True))) == 1
    except (csv.Error, ValueError):
        return False
