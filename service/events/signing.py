"""Signatures of webhooks, as Standard Webhooks 1.0 has them: symmetric secrets, HMAC-SHA256, version `v1`.

What is signed is `id.timestamp.body`, so a receiver that checks all three takes no changed body, and no old one sent again.
While a secret is being replaced both sign, and a receiver that knows either takes the event.
"""

from __future__ import annotations

import hmac
import secrets
from base64 import b64encode
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32  # the specification wants 24 to 64
DEFAULT_OVERLAP_S = 24 * 3600
LONGEST_OVERLAP_S = 7 * 24 * 3600


def new_secret() -> bytes:
    """A random one."""
    return secrets.token_bytes(SECRET_BYTES)


def show_secret(secret: bytes) -> str:
    """As receivers are given it."""
    return PREFIX + b64encode(secret).decode()


def message_id(webhook_id: int, event_id: int) -> str:
    """What an event is called to a webhook: the same at every attempt, and of no other event or webhook."""
    return f"msg_{webhook_id}_{event_id}"


def signature(keys: Sequence[bytes], message: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each of `keys`. ValueError without any."""
    if not keys:
        raise ValueError("nothing is sent without a signature")
    signed = f"{message}.{timestamp_s}.".encode() + body
    return " ".join("v1," + b64encode(hmac.digest(key, signed, "sha256")).decode() for key in keys)


def signed_headers(keys: Sequence[bytes], message: str, timestamp_s: int, body: bytes) -> list[tuple[str, str]]:
    """The headers of an attempt made at `timestamp_s`, in seconds since 1970."""
    return [
        ("webhook-id", message),
        ("webhook-timestamp", str(timestamp_s)),
        ("webhook-signature", signature(keys, message, timestamp_s, body)),
    ]
