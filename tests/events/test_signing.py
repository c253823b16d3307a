"""Signatures: what the public library of Standard Webhooks accepts, and what it refuses."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.events.signing import message_id, new_secret, show_secret, signature, signed_headers

BODY = '{"id":7,"data":{"name":"Ä €"}}'.encode()


def headers_of(*secrets: bytes, body: bytes = BODY, at: int | None = None) -> dict[str, str]:
    """As an attempt made now has them."""
    return dict(signed_headers(secrets, message_id(3, 7), int(time.time()) if at is None else at, body))


def test_the_public_library_accepts_it() -> None:
    """With the secret as receivers are given it."""
    secret = new_secret()
    assert Webhook(show_secret(secret)).verify(BODY, headers_of(secret)) == json.loads(BODY)


def test_both_secrets_sign_while_one_is_replaced() -> None:
    """A receiver that knows either accepts it."""
    new, old = new_secret(), new_secret()
    for known in (new, old):
        Webhook(show_secret(known)).verify(BODY, headers_of(new, old))


def test_it_is_what_the_public_library_signs() -> None:
    """Byte for byte, at any time."""
    secret = new_secret()
    at = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    expected = Webhook(show_secret(secret)).sign("msg_3_7", at, BODY.decode())
    assert signature([secret], "msg_3_7", int(at.timestamp()), BODY) == expected


@pytest.mark.parametrize("change", ["body", "id", "timestamp", "secret", "old"])
def test_whatever_is_changed_is_refused(change: str) -> None:
    """The body, the id, the time, the secret; and what is older than five minutes."""
    secret, body = new_secret(), BODY
    headers = headers_of(secret, at=int(time.time()) - 400 if change == "old" else None)
    if change == "body":
        body = BODY.replace(b"7", b"8")
    elif change == "id":
        headers["webhook-id"] = message_id(3, 8)
    elif change == "timestamp":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    elif change == "secret":
        secret = new_secret()
    with pytest.raises(WebhookVerificationError):
        Webhook(show_secret(secret)).verify(body, headers)


def test_nothing_is_sent_unsigned() -> None:
    """No secret, no signature."""
    with pytest.raises(ValueError, match="signature"):
        signature([], "msg_3_7", 0, BODY)
