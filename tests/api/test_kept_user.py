"""A kept user is answered in front of the middleware, and everything that some layer looks at goes through it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.api.kept_user import DECIDING
from service.app import Application
from service.config import Config
from service.middleware.environ import CLIENT_ADDRESS, PRINCIPAL, REQUEST_ID, ROUTE, TRACE
from tests.client import ApiClient

NAMES = re.compile(r'"(HTTP_[A-Z_]+)"')
HARMLESS = {  # headers that change nothing at this route, or that it honours itself
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD", "HTTP_AUTHORIZATION", "HTTP_CONNECTION", "HTTP_HOST", "HTTP_IDEMPOTENCY_KEY",
    "HTTP_IF_MATCH", "HTTP_LAST_EVENT_ID", "HTTP_SEC_WEBSOCKET_KEY", "HTTP_SEC_WEBSOCKET_VERSION", "HTTP_TRACEPARENT",
    "HTTP_TRACESTATE", "HTTP_UPGRADE", "HTTP_X_REQUEST_ID",
}


class WentOn(Exception):
    """The request has come to what is behind."""


@pytest.fixture
def kept(application: Application, api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a user who is kept, in an application that answers nothing else any more."""
    path = f"/api/users/{api.user()['id']}"
    for _ in range(2):
        assert api.get(path).status == 200

    def go_on(_environ: Any, _start: Any) -> Any:
        raise WentOn

    monkeypatch.setattr(application, "_wsgi", go_on)
    return path


def test_a_kept_user_is_answered_at_once(api: ApiClient, kept: str) -> None:
    """With all headers that every answer has."""
    reply = api.get(kept, X_Request_ID="mine")
    assert (reply.status, reply.json["name"], reply.headers["X-Request-ID"]) == (200, "Ada", "mine")
    assert {"ETag", "traceparent", "RateLimit", "RateLimit-Policy"} <= reply.headers.keys()


def test_a_neighbour_is_answered_at_once(application: Application, api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though nobody has asked for it before: it came along with another, and says what it says through the chain."""
    users = [api.user(email=f"{n}@example.com") for n in range(3)]
    through_the_chain = [api.get(f"/api/users/{user['id']}", Cache_Control="no-cache") for user in users]
    application.resources.user_cache.drop_all()
    assert api.get(f"/api/users/{users[0]['id']}").status == 200
    monkeypatch.setattr(application, "_wsgi", None)
    for reply in through_the_chain[1:]:
        at_once = api.get(f"/api/users/{reply.json['id']}")
        assert (at_once.status, at_once.body, at_once.headers["ETag"]) == (200, reply.body, reply.headers["ETag"])


@pytest.mark.parametrize("header", sorted(DECIDING))
def test_headers_that_decide_go_on(api: ApiClient, kept: str, header: str) -> None:
    """Whatever they say."""
    with pytest.raises(WentOn):
        api.get(kept, **{header.removeprefix("HTTP_").title(): "x"})


@pytest.mark.parametrize("path", ["?a=1", "?", "/", "0", "%20", "00000000000000000000"])
def test_other_paths_go_on(api: ApiClient, kept: str, path: str) -> None:
    """A query, another user, something encoded."""
    with pytest.raises(WentOn):
        api.get(kept + path)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_go_on(api: ApiClient, kept: str, method: str) -> None:
    """Only GET is answered."""
    with pytest.raises(WentOn):
        api.call(method, kept)


@pytest.mark.parametrize("token", ["nonsense", "ldg_000000000000_" + "0" * 64, ""])
def test_unknown_keys_go_on(application: Application, kept: str, token: str) -> None:
    """The middleware says what is wrong with them."""
    with pytest.raises(WentOn):
        ApiClient(application, token).get(kept)


def test_no_header_that_is_read_anywhere_is_forgotten() -> None:
    """A new one has to be put into one of the two sets."""
    service = Path(__file__).parents[2] / "service"
    sources = [*service.glob("api/*.py"), *service.glob("middleware/*.py")]
    read = {name for source in sources for name in NAMES.findall(source.read_text())}
    assert read == DECIDING | HARMLESS


@pytest.fixture
def narrow(config: Config) -> Iterator[Application]:
    """An application with two calls for each key."""
    made = Application(replace(config, rate_limit=0.01, rate_burst=3)).open()
    yield made
    assert made.close(10) == []


def test_a_kept_user_counts_against_the_limit(narrow: Application, key: str) -> None:
    """To the last token; then 429."""
    client = ApiClient(narrow, key)
    path = f"/api/users/{client.user()['id']}"
    assert [client.get(path).status for _ in range(3)] == [200, 200, 429]


def test_a_key_without_the_scope_reads_nothing(application: Application, api: ApiClient) -> None:
    """Though it is kept, and so is the user."""
    path = f"/api/users/{api.user()['id']}"
    made = api.post("/api/keys", {"name": "other", "scopes": ["accounts:read"]})
    other = ApiClient(application, made.json["key"])
    for _ in range(3):
        assert api.get(path).status == 200
        assert other.get(path).code == "forbidden"


def test_whoever_is_told_of_answers_learns_the_same(application: Application, api: ApiClient) -> None:
    """The log, the metrics and the traces, whether it was answered at once or by the chain."""
    path, told = f"/api/users/{api.user()['id']}", []
    names = {PRINCIPAL, REQUEST_ID, ROUTE, CLIENT_ADDRESS, "REQUEST_METHOD", "PATH_INFO", "wsgi.url_scheme"}

    def tell(environ: dict[str, Any], status: int, _duration_s: float, sent: int) -> None:
        trace = environ[TRACE]
        told.append((status, sent, trace.trace_id, trace.parent_id, *(environ[name] for name in sorted(names))))

    application.at_once.__self__._ended.append(tell)  # type: ignore[attr-defined]  # the observers, which both tell
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    for options in ({}, {}, {"Cache_Control": "max-age=1"}):
        assert api.get(path, X_Request_ID="mine", traceparent=parent, **options).status == 200
    assert len(told) == 3
    assert told[0] == told[1] == told[2]
