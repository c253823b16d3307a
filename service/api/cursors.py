"""Opaque cursors for lists: a position, signed, and good only for the list of the ledger that it came from."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from functools import lru_cache

from service.concurrency.context import Context
from service.errors import FieldError, InvalidInput

_SIGNATURE_BYTES = 16
_POSITION_BYTES = 8
MOST_KEPT = 256  # all that were posted in one batch tell the same position
LENGTH = (_SIGNATURE_BYTES + _POSITION_BYTES) * 4 // 3  # in base64, without padding
_ISSUED = re.compile(f"[A-Za-z0-9_-]{{{LENGTH}}}")


class Cursors:
    """Signs with a secret that every instance on the database shares; it is read at the first use."""

    def __init__(self, find_secret: Callable[[Context], bytes]) -> None:
        self._find_secret = find_secret
        self._secret: bytes | None = None
        self._issued = lru_cache(MOST_KEPT)(_make)

    def issue(self, ctx: Context, scope: str, position: int) -> str:
        """The cursor that continues `scope` (the list, its ledger and its filters) after `position`."""
        return self._issued(self._secret or self._find(ctx), scope, position)

    def position(self, ctx: Context, scope: str, cursor: str) -> int:
        """The position in a cursor that was issued for `scope`. Raises InvalidInput for any other."""
        raw = base64.urlsafe_b64decode(cursor) if _ISSUED.fullmatch(cursor) else b""  # which takes `+`, `/` and padding too
        position, signature = raw[:_POSITION_BYTES], raw[_POSITION_BYTES:]
        if not hmac.compare_digest(signature, _sign(self._secret or self._find(ctx), scope, position)):
            message = "not a cursor of this list; take `next_cursor` of the page before, with the same parameters"
            raise InvalidInput("The cursor is not valid.", fields=(FieldError("cursor", message),))
        return int.from_bytes(position, "big")

    def _find(self, ctx: Context) -> bytes:
        self._secret = self._find_secret(ctx)
        return self._secret


def _make(secret: bytes, scope: str, position: int) -> str:
    raw = position.to_bytes(_POSITION_BYTES, "big")
    return base64.urlsafe_b64encode(raw + _sign(secret, scope, raw)).decode()


def _sign(secret: bytes, scope: str, position: bytes) -> bytes:
    return hmac.digest(secret, scope.encode() + b"\x00" + position, hashlib.sha256)[:_SIGNATURE_BYTES]
