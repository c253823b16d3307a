"""Exponential backoff: how long to wait before something is tried again that has failed several times in a row."""

from __future__ import annotations

MOST_DOUBLINGS = 60  # beyond any bound; a float could take no more than a thousand


def backoff_s(failures: int, *, first_s: float, longest_s: float) -> float:
    """`first_s` after the first failure, twice as long after each further one, `longest_s` at most.

    It is the pause, or where it is to be random (full jitter) its upper end.
    """
    return min(first_s * 2.0 ** min(failures - 1, MOST_DOUBLINGS), longest_s)
