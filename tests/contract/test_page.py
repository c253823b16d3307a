"""/openapi.json and /docs: open to everybody, kept by clients, and in need of nothing from elsewhere."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest

from service.api.document import FILES
from service.app import Application
from tests.client import ApiClient
from tests.contract.document import the_document

HOST = "http://ledger.invalid"


@pytest.fixture
def anybody(application: Application) -> ApiClient:
    """A client without a key."""
    return ApiClient(application, None)


class References(HTMLParser):
    """What a page refers to, and what stands in it that a strict policy would refuse."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.inline: list[str] = []
        self._tag = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sources and references; styles and handlers in attributes."""
        self._tag = tag
        for name, value in attrs:
            if name == "src" or (name == "href" and tag == "link"):
                self.loaded.append(value or "")
            elif name == "href":
                self.linked.append(value or "")
            elif name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        """Scripts and styles within the page."""
        if self._tag in ("script", "style") and data.strip():
            self.inline.append(data)


def test_the_document_is_served(anybody: ApiClient) -> None:
    """As it is made, without a key."""
    reply = anybody.get("/openapi.json")
    assert reply.headers["Content-Type"] == "application/json"
    assert json.loads(reply.body) == json.loads(json.dumps(the_document()))


def test_the_page_loads_only_what_is_served_here(anybody: ApiClient) -> None:
    """Every file it names is a route of ours, open to everybody; nothing is on another host, nothing inline."""
    page = References(anybody.get("/docs").body.decode())
    assert len(page.loaded) == 4
    for reference in page.loaded + page.linked:
        url = urlsplit(urljoin(f"{HOST}/docs", reference))
        assert f"{url.scheme}://{url.netloc}" == HOST
        assert anybody.get(url.path).status == 200, url.path
    assert page.inline == []


def test_every_file_of_the_page_is_used(anybody: ApiClient) -> None:
    """What is served is what the page names, and no more."""
    page = References(anybody.get("/docs").body.decode())
    assert {f"/{reference}" for reference in page.loaded} | {"/docs"} == set(FILES)


@pytest.mark.parametrize("path", ["/openapi.json", *FILES])
def test_browsers_are_told_to_trust_little(anybody: ApiClient, path: str) -> None:
    """Scripts from here alone, none inline; no frame around it; no guessing of types."""
    headers = anybody.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert (policy["default-src"], policy["script-src"], policy["style-src"]) == ("'none'", "'self'", "'self'")
    assert (policy["connect-src"], policy["frame-ancestors"]) == ("'self'", "'none'")
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/openapi.json", *FILES])
def test_who_has_it_is_not_sent_it_again(anybody: ApiClient, path: str) -> None:
    """304 to its entity tag, weak or strong, alone or among others; the whole to any other."""
    first = anybody.get(path)
    tag = first.headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = anybody.get(path, If_None_Match=known)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    for other in ('"other"', tag.strip('"'), ""):
        assert anybody.get(path, If_None_Match=other).body == first.body
    assert anybody.call("HEAD", path).headers["ETag"] == tag


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/index.html", "/docs/../setup.cfg", "/docs/%2e%2e/setup.cfg", "/docs//passwd", "/docs/VERSION"]
)
def test_no_other_file_is_served(anybody: ApiClient, api: ApiClient, path: str) -> None:
    """The list of files is all there is: any other path is one that needs a key, and nothing is there."""
    assert anybody.get(path).code == "unauthenticated"
    assert api.get(path).code == "not_found"


def test_the_page_tells_no_other_host_of_the_document(anybody: ApiClient) -> None:
    """The validator badge is off, and the document is asked for where the page came from."""
    script = anybody.get("/docs/start.js").body.decode()
    assert "validatorUrl: null" in script
    assert 'url: "openapi.json"' in script
    assert "//" not in script.replace("// No validator badge", "")
