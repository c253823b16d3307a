"""An `Idempotency-Key` that is sent twice is refused: joined it would be another key, and a retry with one would post."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from service.api.posting import idempotency_key
from service.errors import InvalidInput
from service.rpc.environ import make_environ
from tests.acceptance.test_raw_requests import exchange
from tests.client import HttpClient
from tests.serving import Serve

BODY = b'{"from_account_id": 1, "to_account_id": 2, "amount": 5}'
LENGTH = b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


def test_a_key_that_is_sent_twice_is_refused(served: Serve, payer_key: str) -> None:
    """By either loop, in any case of letters, and also where both are the same; nothing is posted."""
    head = b"POST /api/transfers HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
    for rest in (LENGTH, CHUNKED):
        for second in (b"Idempotency-Key: two\r\n", b"idempotency-key: one\r\n", b"Idempotency-Key:\r\n"):
            status, body = exchange(served.port, head % payer_key.encode() + b"Idempotency-Key: one\r\n" + second + rest)
            problem = json.loads(body)
            assert (status, problem["code"]) == (422, "invalid_input"), second
            assert problem["errors"] == [{"field": "Idempotency-Key", "message": "given more than once"}]
        status, _ = exchange(served.port, head % payer_key.encode() + b"X-A: 1\r\nX-A: 2\r\nIdempotency-Key: one\r\n" + rest)
        assert status == (201 if rest is LENGTH else 200)
    client = HttpClient(served.port, payer_key)
    assert len(client.call("GET", "/api/transfers").json["data"]) == 1
    client.close()


def test_so_is_one_in_the_metadata_of_a_call() -> None:
    """gRPC has lists of values as well."""
    def environ(*keys: str) -> dict[str, Any]:
        given = [("user-agent", "a"), ("user-agent", "b"), *(("idempotency-key", key) for key in keys)]
        context = SimpleNamespace(peer=lambda: "ipv4:127.0.0.1:1", invocation_metadata=lambda: given)
        return make_environ("/a/b", cast(Any, context), iter(()))

    assert idempotency_key(environ("one")) == "one"
    with pytest.raises(InvalidInput) as refused:
        idempotency_key(environ("one", "two"))
    assert [problem.field for problem in refused.value.fields] == ["Idempotency-Key"]
