"""Exports: the whole list in one answer, in two forms, or an error before its first byte."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from werkzeug.test import Client

from service.app import Application
from service.resources import STREAMS_AT_ONCE
from tests.client import ApiClient
from tests.conftest import make_key

PATH = "/api/transfers/export"


@pytest.fixture
def made(api: ApiClient) -> list[dict[str, Any]]:
    """Nine transfers among three accounts, oldest first, with texts that a table of values could trip over."""
    accounts = [api.account(min_balance=None)["id"] for _ in range(3)]
    texts = ["plain", 'a "quote", and a comma', "two\nlines", "ünï", "=1+1", None, "x", "x", "x"]
    return [
        api.transfer(accounts[n % 3], accounts[(n + 1) % 3], n + 1, **({"reference": t} if t else {}), metadata={"t": t}).json
        for n, t in enumerate(texts)
    ]


def test_an_export_has_every_transfer_oldest_first(api: ApiClient, made: list[dict[str, Any]]) -> None:
    """One JSON object a line, each as the API shows it."""
    reply = api.get(PATH)
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert reply.headers["Content-Disposition"] == 'attachment; filename="transfers.ndjson"'
    assert [json.loads(line) for line in reply.body.decode().splitlines()] == made


def test_csv_has_the_same_values(api: ApiClient, made: list[dict[str, Any]]) -> None:
    """With a line of names, quoted as RFC 4180 says; what is null is empty."""
    reply = api.get(PATH + "?format=csv")
    assert reply.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(reply.body.decode(), newline="")))
    for row, transfer in zip(rows, made, strict=True):
        assert json.loads(row.pop("metadata")) == transfer["metadata"]
        assert row == {name: "" if value is None else str(value) for name, value in transfer.items() if name != "metadata"}


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_empty_ledger_has_an_empty_export(api: ApiClient, form: str) -> None:
    """No line, or the names alone."""
    reply = api.get(f"{PATH}?format={form}")
    assert (reply.status, reply.body.count(b"\n")) == (200, int(form == "csv"))


def test_an_export_takes_the_filters_of_the_list(api: ApiClient, made: list[dict[str, Any]]) -> None:
    """And has what the list has, the other way round."""
    first, last = made[2]["created_at"], made[7]["created_at"]
    for query in (
        {"account_id": 1}, {"reference": "x"}, {"from": first}, {"to": last}, {"from": first, "to": last},
        {"account_id": 2, "from": first, "to": last}, {"account_id": 2, "reference": "x", "from": first}, {"account_id": 99},
    ):
        listed = api.get(f"/api/transfers?{urlencode(query)}").json["data"]
        exported = [json.loads(line) for line in api.get(f"{PATH}?{urlencode(query)}").body.decode().splitlines()]
        assert exported == listed[::-1], query


@pytest.mark.parametrize(
    ("query", "field"), [("format=xml", "format"), ("limit=1", "limit"), ("from=now", "from"), ("reference=", "reference")]
)
def test_a_wrong_parameter_is_named(api: ApiClient, query: str, field: str) -> None:
    """422 before anything is sent."""
    reply = api.get(f"{PATH}?{query}")
    assert (reply.status, reply.fields) == (422, [field])


def test_head_tells_what_it_would_be(api: ApiClient, made: list[dict[str, Any]]) -> None:
    """Without reading a row."""
    reply = api.call("HEAD", PATH)
    assert (reply.status, reply.headers["Content-Type"], reply.body) == (200, "application/x-ndjson", b"")


def test_a_ledger_exports_its_own(made: list[dict[str, Any]], application: Application, database_url: str) -> None:
    """Nothing of another one's."""
    assert ApiClient(application, make_key(database_url, "other")).get(PATH).body == b""


def test_streams_are_bounded_and_come_free_again(application: Application, key: str, made: list[dict[str, Any]]) -> None:
    """One too many is told so at once, and one that is left half read gives its place back, and its connection."""
    client, headers = Client(application), {"Authorization": f"Bearer {key}"}
    begun = [client.get(PATH, headers=headers, buffered=False) for _ in range(STREAMS_AT_ONCE)]
    refused = client.get(PATH, headers=headers)
    assert (refused.status_code, refused.json["code"], refused.headers["Retry-After"]) == (503, "overloaded", "5")
    for answer in begun:
        answer.close()
    assert client.get(PATH, headers=headers).status_code == 200


def test_a_database_that_refuses_is_an_answer_of_its_own(
    api: ApiClient, made: list[dict[str, Any]], database_url: str
) -> None:
    """What goes wrong before the first line is no half export; a lock that is not had in time here."""
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE transfers IN ACCESS EXCLUSIVE MODE")
        reply = api.get(PATH, Request_Timeout="0.3")
        assert (reply.status, reply.code) == (504, "deadline_exceeded")
    assert api.get(PATH).status == 200
