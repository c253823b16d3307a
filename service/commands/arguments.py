"""Reading the arguments of commands: each function raises ArgumentTypeError that says what would be right."""

from __future__ import annotations

import argparse
import re

from service.commands.command import utf8
from service.ledger.grants import MOST_DEBIT_ACCOUNTS
from service.ledger.keys import LONGEST_LIFE_S, LONGEST_OVERLAP_S
from service.ledger.ledgers import LEDGER_NAME, LEDGER_NAME_SHAPE
from service.ledger.money import GREATEST_ID
from service.ledger.scopes import GRANTABLE

_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)")  # RFC 9110, 5
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def scopes(text: str) -> tuple[str, ...]:
    """Scopes with commas between them."""
    given = tuple(text.split(","))
    if unknown := [scope for scope in given if scope not in GRANTABLE]:
        raise argparse.ArgumentTypeError(f"unknown scope {unknown[0]!r}; choose from {', '.join(GRANTABLE)}")
    return tuple(dict.fromkeys(given))


def ledger_name(text: str) -> str:
    """The name of a ledger."""
    if LEDGER_NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {LEDGER_NAME_SHAPE}")
    return text


def key_name(text: str) -> str:
    """What a key is for."""
    if len(text) > 200 or not text.isprintable():
        raise argparse.ArgumentTypeError("expected at most 200 printable characters")
    return text


def key_id(text: str) -> str:
    """The id, also out of a whole token, so that a key can be revoked by pasting it."""
    return utf8(text.split("_")[1] if text.startswith("ldg_") and text.count("_") == 2 else text)


def lifetime(text: str) -> int:
    """How long a key lives, in seconds."""
    return _duration(text, 1, LONGEST_LIFE_S, "30d")


def overlap(text: str) -> int:
    """How long a key goes on beside the one that follows it, in seconds; 0s is not at all."""
    return _duration(text, 0, LONGEST_OVERLAP_S, "24h")


def timeout(text: str) -> int:
    """How long a request may take, in seconds."""
    return _duration(text, 1, 86_400, "30s")


def header(text: str) -> tuple[str, str]:
    """The name and the value of a header."""
    match = _HEADER.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a name, a colon and a value, such as 'If-Match: \"3\"'")
    return match[1], match[2]


def account_ids(text: str) -> tuple[int, ...]:
    """Ids with commas between them."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) < 20 and 1 <= int(part) <= GREATEST_ID for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r}: expected account ids with commas between them, such as 12,15")
    if len(parts) > MOST_DEBIT_ACCOUNTS:
        raise argparse.ArgumentTypeError(f"expected at most {MOST_DEBIT_ACCOUNTS} account ids")
    return tuple(sorted({int(part) for part in parts}))


def seal_hash(text: str) -> bytes:
    """The hash of a seal, in hexadecimal."""
    if re.fullmatch(r"[0-9a-f]{64}", text, re.ASCII) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected the 64 hexadecimal digits of a seal's hash")
    return bytes.fromhex(text)


def _duration(text: str, least_s: int, most_s: int, example: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is not None and least_s <= (seconds := int(match[1]) * _SECONDS[match[2]]) <= most_s:
        return seconds
    raise argparse.ArgumentTypeError(
        f"{text!r}: expected a whole number and s, m, h or d, such as {example}; from {least_s}s to {most_s // 86_400}d"
    )
