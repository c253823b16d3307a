"""Micro-benchmarks of what every transfer passes in Python (`make bench`); the everyday run only checks that they work."""

from __future__ import annotations

import io
import json
from typing import Any

from service.api.body import read_object
from service.api.calls import Answer
from service.api.schemas import TransferInput, load
from service.concurrency.channel import Channel
from service.concurrency.context import background, with_timeout
from service.concurrency.promise import Promise
from service.ledger.transfers import PostRequest
from service.repository.posting import encode

BODY = json.dumps({"from_account_id": 1, "to_account_id": 2, "amount": 5}).encode()


def test_read_and_validate_a_body(benchmark: Any) -> None:
    """JSON to checked values."""
    schema = TransferInput()

    def read() -> dict[str, Any]:
        environ = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(BODY)), "wsgi.input": io.BytesIO(BODY)}
        return load(schema, read_object(environ))

    assert benchmark(read)["amount"] == 5


def test_encode_a_batch_of_64(benchmark: Any) -> None:
    """Requests to slots."""
    requests = [
        PostRequest(ledger_id=1, from_account_id=n, to_account_id=n + 1, amount=1, key=f"key {n}") for n in range(64)
    ]
    assert benchmark(encode, requests)["keys"] is not None


def test_hand_a_request_over_and_back(benchmark: Any) -> None:
    """Channel in, channel out, promise kept, on one thread."""
    channel: Channel[Promise[int]] = Channel(16)

    def hand_over() -> int:
        with with_timeout(background(), 30) as ctx:
            promise: Promise[int] = Promise()
            channel.send_nowait(promise)
            channel.receive(ctx).keep(7)
            assert promise.wait(ctx)
            return promise.result()

    assert benchmark(hand_over) == 7


def test_write_an_answer(benchmark: Any) -> None:
    """Values to JSON bytes and headers."""
    assert benchmark(Answer, {"id": 1, "amount": 5, "asset": "USD/2"}, 201, Location="/api/transfers/1").status == 201
