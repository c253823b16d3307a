"""Imports: every line a transfer or a refusal with its number, and the whole once for ever by its name."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.test import Client

from service.api.importing import LINES_IN_A_CHUNK, MOST_TOLD
from service.api.imports import AT_ONCE
from service.api.lines import MOST_LINE
from service.app import Application
from tests.client import ApiClient, Reply

NDJSON, CSV = "application/x-ndjson", "text/csv"
HEADER = "from_account_id,to_account_id,amount"


@pytest.fixture
def accounts(api: ApiClient) -> list[int]:
    """The outside world, and two accounts without a penny."""
    return [api.account(min_balance=None)["id"], api.account()["id"], api.account()["id"]]


def send(api: ApiClient, body: str | bytes, media_type: str = NDJSON, name: str = "n", **query: str) -> Reply:
    """Import a file."""
    raw = body if isinstance(body, bytes) else body.encode()
    path = "/api/transfers/import?" + urlencode({"name": name, **query})
    return api.call("POST", path, raw=raw, Content_Type=media_type)


def line(source: int | str, target: int, amount: Any = 1, **more: Any) -> str:
    """A line of NDJSON."""
    return json.dumps({"from_account_id": source, "to_account_id": target, "amount": amount, **more})


def report(reply: Reply) -> dict[str, Any]:
    """The report, whose sums are right."""
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.json
    assert found["lines"] == found["posted"] + found["replayed"] + found["refused"]
    assert found["refused"] == len(found["refusals"]) + found["refusals_left_out"]
    return found


def refused(reply: Reply) -> list[tuple[int, str, str]]:
    """Line, code and field of each refusal."""
    return [(one["line"], one["code"], one["field"]) for one in report(reply)["refusals"]]


def test_every_line_is_posted_or_refused(api: ApiClient, accounts: list[int]) -> None:
    """In the order of the file, by the rules of the ledger."""
    world, shop, till = accounts
    lines = [line(world, shop, 100), line(shop, till, 500), line(shop, till, 30, reference="r", metadata={"a": 1})]
    reply = send(api, "\n".join(lines))
    assert report(reply) == {
        "name": "n", "lines": 3, "posted": 2, "replayed": 0, "refused": 1, "refusals_left_out": 0,
        "refusals": [{
            "line": 2, "code": "insufficient_funds", "field": "amount",
            "detail": "The debit would take the account below its min_balance.",
        }],
    }
    newest = api.get("/api/transfers?limit=1").json["data"][0]
    assert (newest["amount"], newest["reference"], newest["metadata"]) == (30, "r", {"a": 1})
    assert "Ledger-Position" in reply.headers


def test_csv_has_the_same_meaning(api: ApiClient, accounts: list[int]) -> None:
    """In any order of columns; what is empty is not given; metadata is JSON; quotes hold commas, quotes and line ends."""
    world, shop, _ = accounts
    rows = [
        "reference,amount,to_account_id,from_account_id,metadata,asset,if_from_version,idempotency_key",
        f'"a ""quote"", and\r\na line",5,{shop},{world},"{{""a"": [1]}}",USD/2,0,key-1',
        f",6,{shop},{world},,,,",
        f",7,{shop},{world},,EUR/2,,",
    ]
    reply = send(api, "\r\n".join(rows) + "\r\n", CSV)
    assert refused(reply) == [(5, "asset_mismatch", "asset")]
    second, first = api.get("/api/transfers").json["data"]
    assert (first["reference"], first["metadata"], first["amount"]) == ('a "quote", and\r\na line', {"a": [1]}, 5)
    assert (second["reference"], second["metadata"], second["amount"]) == (None, {}, 6)
    body = {"from_account_id": world, "to_account_id": shop, "amount": 5, "asset": "USD/2", "if_from_version": 0}
    body |= {"reference": first["reference"], "metadata": {"a": [1]}}
    assert api.post("/api/transfers", body, Idempotency_Key="key-1").status == 200


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_what_is_exported_can_be_imported(api: ApiClient, accounts: list[int], form: str) -> None:
    """The same amounts between the same accounts again; what an export says beside them is passed over."""
    world, shop, till = accounts
    for n in range(5):
        api.transfer(world, (shop, till)[n % 2], n + 1, reference='a "b",\n c' if n else None, metadata={"n": n})
    exported = api.get(f"/api/transfers/export?format={form}")
    assert report(send(api, exported.body, exported.headers["Content-Type"]))["posted"] == 5
    listed = api.get("/api/transfers").json["data"]
    same = ("from_account_id", "to_account_id", "amount", "asset", "reference", "metadata")
    assert [[one[name] for name in same] for one in listed[:5]] == [[one[name] for name in same] for one in listed[5:]]


def test_the_same_again_doubles_nothing(api: ApiClient, accounts: list[int]) -> None:
    """Refusals are the same as well; under another name it is another import."""
    world, shop, till = accounts
    lines = [line(world, shop, n + 1) for n in range(2 * LINES_IN_A_CHUNK)] + [line(till, shop), "", line(world, till, 7)]
    first = report(send(api, "\n".join(lines)))
    assert (first["posted"], first["refused"]) == (2 * LINES_IN_A_CHUNK + 1, 2)
    again = report(send(api, "\n".join(lines)))
    assert again == first | {"posted": 0, "replayed": first["posted"]}
    assert report(send(api, "\n".join(lines), name="other"))["replayed"] == 0


def test_an_import_that_was_broken_off_goes_on(
    application: Application, key: str, api: ApiClient, accounts: list[int]
) -> None:
    """What came before the break is posted in whole chunks, and the rest by the same file under the same name."""
    world, shop, _ = accounts
    whole = "".join(line(world, shop, n + 1) + "\n" for n in range(3 * LINES_IN_A_CHUNK)).encode()
    broken = Client(application).post(
        "/api/transfers/import?name=n", data=whole[: len(whole) * 5 // 6], content_type=NDJSON,
        headers={"Authorization": f"Bearer {key}"}, environ_overrides={"CONTENT_LENGTH": str(len(whole))},
    )
    assert (broken.status_code, broken.json["code"]) == (400, "malformed_request")
    posted = api.get(f"/api/accounts/{shop}").json["version"]
    assert posted % LINES_IN_A_CHUNK == 0
    assert posted < 3 * LINES_IN_A_CHUNK
    found = report(send(api, whole))
    assert (found["posted"], found["replayed"]) == (3 * LINES_IN_A_CHUNK - posted, posted)
    assert api.get(f"/api/accounts/{shop}").json["version"] == 3 * LINES_IN_A_CHUNK


def test_a_name_is_of_one_file(api: ApiClient, accounts: list[int]) -> None:
    """Other lines under it are refused as a whole chunk, and nothing of them is posted."""
    world, shop, _ = accounts
    lines = [line(world, shop) for _ in range(LINES_IN_A_CHUNK + 1)]
    assert report(send(api, "\n".join(lines)))["posted"] == len(lines)
    for changed in ([line(world, shop, 2), *lines[1:]], [*lines[:-1], line(world, shop, 2)], [*lines, lines[0]]):
        reply = send(api, "\n".join(changed))
        assert (reply.status, reply.code, reply.fields) == (422, "idempotency_key_reused", ["name"])
    assert api.get(f"/api/accounts/{shop}").json["version"] == len(lines)


WORLD = "the outside world"  # in a line: its number, which the test knows
BAD_LINES: list[tuple[bytes, str, str]] = [
    (b"", "malformed_request", ""), (b"  ", "malformed_request", ""), (b"{", "malformed_request", ""),
    (b"[]", "malformed_request", ""), (b"\xff{}", "malformed_request", ""), (b"{} {}", "malformed_request", ""),
    (b'{"amount": NaN}', "malformed_request", ""), (b'{"amount": 1, "amount": 2}', "invalid_input", "amount"),
    (line(1, 2, 0).encode(), "invalid_input", "amount"), (line(1, 2, "5").encode(), "invalid_input", "amount"),
    (line(1, 2, colour=1).encode(), "invalid_input", "colour"), (line(1, 1).encode(), "same_account", "to_account_id"),
    (line(WORLD, 10**15).encode(), "not_found", "to_account_id"), (b"x" * (MOST_LINE + 1), "malformed_request", ""),
    (b'{"a":' + b"[" * 100_000, "malformed_request", ""),
]


def test_lines_may_be_holds(api: ApiClient, accounts: list[int]) -> None:
    """In either form."""
    world, shop, _ = accounts
    assert report(send(api, line(world, shop, 5, hold=True)))["posted"] == 1
    body = f"{HEADER},hold,expires_in_s\n{world},{shop},7,true,60\n{world},{shop},9,false,\n{world},{shop},9,yes,"
    assert refused(send(api, body, CSV, name="csv")) == [(4, "invalid_input", "hold")]
    assert api.get(f"/api/accounts/{world}").json["held"] == 12


def test_only_transfers_of_an_export_become_transfers(api: ApiClient, accounts: list[int]) -> None:
    """A capture, say, would move money a second time."""
    world, shop, _ = accounts
    reply = send(api, "\n".join(line(world, shop, kind=kind) for kind in ("transfer", "hold", "capture")))
    assert refused(reply) == [(2, "invalid_input", "kind"), (3, "invalid_input", "kind")]
    reply = send(api, f"{HEADER},kind\n{world},{shop},1,transfer\n{world},{shop},1,reversal\n", CSV, name="csv")
    assert refused(reply) == [(3, "invalid_input", "kind")]


@pytest.mark.parametrize(("bad", "code", "field"), BAD_LINES, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_bad_line_harms_no_other(
    api: ApiClient, accounts: list[int], bad: bytes, code: str, field: str, end: str
) -> None:
    """It is told with its number, and the lines around it are posted; with a mark at the beginning, and either line end."""
    good, bad = line(*accounts[:2]).encode(), bad.replace(json.dumps(WORLD).encode(), b"%d" % accounts[0])
    reply = send(api, b"\xef\xbb\xbf" + end.encode().join([good, bad, good, b""]))
    assert refused(reply) == [(2, code, field)]
    assert reply.json["posted"] == 2


BAD_ROWS = [
    ("", "malformed_request", ""), ("1,2", "malformed_request", ""), ("1,2,3,4", "malformed_request", ""),
    ('1,2,"x"y', "malformed_request", ""), ("1,2,", "invalid_input", "amount"), ("1,2,1.5", "invalid_input", "amount"),
    ("1,2,٥", "invalid_input", "amount"), ("1,2,1_0", "invalid_input", "amount"), ("1,2, 1", "invalid_input", "amount"),
    ("1,2," + "9" * 30, "invalid_input", "amount"), ("1,2,-5", "invalid_input", "amount"),
    ("1,1,5", "same_account", "to_account_id"),
]


@pytest.mark.parametrize(("bad", "code", "field"), BAD_ROWS, ids=lambda value: str(value)[:30])
def test_a_bad_row_harms_no_other(api: ApiClient, accounts: list[int], bad: str, code: str, field: str) -> None:
    """The same for comma-separated values."""
    good = f"{accounts[0]},{accounts[1]},1"
    reply = send(api, "\r\n".join([HEADER, good, bad, good, ""]), CSV)
    assert refused(reply) == [(3, code, field)]
    assert reply.json["posted"] == 2


def test_a_quote_that_is_not_closed_harms_its_row_alone(api: ApiClient, accounts: list[int]) -> None:
    """The rows after it are read as rows."""
    good = f"{accounts[0]},{accounts[1]},1,"
    reply = send(api, "\n".join([HEADER + ",reference", good, good + '"open', good, good + '"two\nlines"', good]), CSV)
    assert [number for number, _, _ in refused(reply)][:1] == [3]
    assert report(reply)["posted"] >= 2


@pytest.mark.parametrize(
    "header",
    [
        "", "from_account_id,to_account_id", HEADER + ",colour", HEADER + ",amount", HEADER + ',"', '1,2,"x"y', "\xff",
        HEADER.upper(),
    ],
)
def test_a_wrong_first_line_refuses_the_whole(api: ApiClient, accounts: list[int], header: str) -> None:
    """Before anything is posted, and it says what is wrong."""
    reply = send(api, f"{header}\n{accounts[0]},{accounts[1]},1\n".encode("latin-1"), CSV)
    assert (reply.status, reply.code, reply.fields) == (422, "invalid_input", ["line 1"])
    assert api.get("/api/transfers").json["data"] == []


def test_an_empty_file_has_no_lines(api: ApiClient) -> None:
    """As NDJSON; comma-separated values have a first line at least."""
    assert report(send(api, b""))["lines"] == 0
    assert report(send(api, HEADER, CSV))["lines"] == 0
    assert send(api, b"", CSV).fields == ["line 1"]


def test_refusals_are_told_up_to_a_number(api: ApiClient, accounts: list[int]) -> None:
    """The first ones, in the order of the lines, and how many there are beside them."""
    found = report(send(api, "\n" * (MOST_TOLD + 5) + line(*accounts[:2])))
    assert (found["posted"], found["refused"], found["refusals_left_out"]) == (1, MOST_TOLD + 5, 5)
    assert [one["line"] for one in found["refusals"]] == list(range(1, MOST_TOLD + 1))


def test_what_is_sent_must_be_told(api: ApiClient, accounts: list[int]) -> None:
    """By its type, or by the parameter, which counts more; an import without a name could be doubled."""
    good = line(*accounts[:2])
    assert send(api, good, "application/json").code == "unsupported_media_type"
    assert report(send(api, good, "application/json", format="ndjson"))["posted"] == 1
    assert send(api, good, CSV, format="xml").fields == ["format"]
    assert send(api, good, name="").fields == ["name"]
    assert send(api, good, name="n" * 201).fields == ["name"]
    assert send(api, good, limit="1").fields == ["limit"]
    assert api.call("POST", "/api/transfers/import", raw=good.encode(), Content_Type=NDJSON).fields == ["name"]


def test_a_key_debits_its_own_accounts_alone(api: ApiClient, application: Application, accounts: list[int]) -> None:
    """A line that debits another is refused."""
    world, shop, till = accounts
    api.transfer(world, shop, 10)
    made = api.post("/api/keys", {"scopes": ["write"], "debit_accounts": [shop]})
    client = ApiClient(application, made.json["key"])
    reply = send(client, "\n".join([line(shop, till), line(world, till), line(shop, till)]))
    assert refused(reply) == [(2, "forbidden", "from_account_id")]
    assert reply.json["posted"] == 2


def test_a_server_that_stops_ends_an_import(application: Application, api: ApiClient, accounts: list[int]) -> None:
    """After a whole chunk; it is another server that goes on."""
    lines = "\n".join(line(*accounts[:2]) for _ in range(10 * LINES_IN_A_CHUNK))
    application.drain()
    reply = send(api, lines)
    assert (reply.status, reply.code) == (504, "outcome_unknown")
    posted = api.get(f"/api/accounts/{accounts[1]}").json["version"]
    assert posted % LINES_IN_A_CHUNK == 0
    assert 0 < posted < 10 * LINES_IN_A_CHUNK
    application._draining = False
    assert report(send(api, lines))["replayed"] == posted


def test_more_imports_than_fit_are_told_so(application: Application, api: ApiClient, accounts: list[int]) -> None:
    """At once, and places come free again, also after a file that was refused."""
    (handlers,) = {route.handler.__self__ for route in application.routes if route.path == "/api/transfers/import"}
    for _ in range(AT_ONCE):
        assert handlers._free.acquire_nowait()
    reply = send(api, line(*accounts[:2]))
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (503, "overloaded", "5")
    for _ in range(AT_ONCE):
        handlers._free.release()
    for n in range(AT_ONCE + 1):
        assert send(api, "colour\n", CSV).status == 422
        assert report(send(api, line(*accounts[:2]), name=f"n{n}"))["posted"] == 1
