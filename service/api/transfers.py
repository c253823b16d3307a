"""/api/transfers: post a transfer, and read the log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Blueprint

from service.api.body import read_object
from service.api.calls import Answer, admit, page, path_id, query_id, view
from service.api.cursors import Cursors
from service.api.representation import show_transfer
from service.api.schemas import TransferInput, load
from service.errors import FieldError, InvalidInput
from service.ledger.money import GREATEST_ID
from service.ledger.transfers import PostRequest, Transfers

_KEY = re.compile(r'"([ !#-~]{1,255})"|([!#-~]{1,255})', re.ASCII)


class TransferHandlers:
    """The handlers, with what they need."""

    def __init__(self, transfers: Transfers, cursors: Cursors) -> None:
        self._transfers = transfers
        self._cursors = cursors
        self._input = TransferInput()

    def blueprint(self) -> Blueprint:
        """The routes."""
        routes = Blueprint("transfers", __name__, url_prefix="/api/transfers")
        routes.add_url_rule("", "list", view(self.list), methods=["GET"])
        routes.add_url_rule("", "create", view(self.create), methods=["POST"])
        routes.add_url_rule("/<transfer_id>", "find", view(self.find), methods=["GET"])
        return routes

    def list(self, environ: WSGIEnvironment) -> Answer:
        """A page of transfers, newest first; with `account_id`, those from or to that account."""
        ctx, ledger_id = admit(environ, "read", parameters=True)
        asked, filters = page(environ, ctx, self._cursors, "transfers", ledger_id, "account_id")
        position, limit = asked.position or GREATEST_ID, asked.limit + 1
        account_id = query_id(filters, "account_id")
        if account_id is None:
            rows = self._transfers.list(ctx, ledger_id, before_id=position, limit=limit)
            return asked.answer(ctx, self._cursors, rows, show_transfer, lambda transfer: transfer.id)
        rows = self._transfers.list_of_account(ctx, ledger_id, account_id, before_version=position, limit=limit)
        return asked.answer(ctx, self._cursors, rows, show_transfer, lambda transfer: transfer.version_of(account_id))

    def create(self, environ: WSGIEnvironment) -> Answer:
        """201 with the transfer; 200 and `Idempotency-Replayed: true` when its key had posted it before."""
        ctx, ledger_id = admit(environ, "write")
        values = load(self._input, read_object(environ))
        posted = self._transfers.create(ctx, PostRequest(ledger_id=ledger_id, key=idempotency_key(environ), **values))
        where = f"/api/transfers/{posted.transfer.id}"
        if posted.replayed:
            return Answer(show_transfer(posted.transfer), 200, Location=where, Idempotency_Replayed="true")
        return Answer(show_transfer(posted.transfer), 201, Location=where)

    def find(self, environ: WSGIEnvironment, transfer_id: str) -> Answer:
        """One transfer."""
        ctx, ledger_id = admit(environ, "read")
        return Answer(show_transfer(self._transfers.find(ctx, ledger_id, path_id("transfer", transfer_id))))


def idempotency_key(environ: Mapping[str, Any]) -> str | None:
    """The `Idempotency-Key`, quoted or bare, or None without one. Raises InvalidInput."""
    header = environ.get("HTTP_IDEMPOTENCY_KEY")
    if header is None:
        return None
    match = _KEY.fullmatch(header)
    if match is None:
        message = "expected 1 to 255 printable ASCII characters, bare without spaces or in double quotes"
        raise InvalidInput(f"Idempotency-Key: {message}.", fields=(FieldError("Idempotency-Key", message),))
    return match[1] or match[2]
