"""/api/accounts: open, list, read and change accounts."""

from __future__ import annotations

from wsgiref.types import WSGIEnvironment

from flask import Blueprint

from service.api.body import read_object
from service.api.calls import Answer, admit, if_match, page, path_id, query_id, view
from service.api.cursors import Cursors
from service.api.representation import show_account, show_time
from service.api.schemas import AccountChanges, AccountInput, load
from service.errors import InvalidInput
from service.ledger.accounts import Accounts


class AccountHandlers:
    """The handlers, with what they need."""

    def __init__(self, accounts: Accounts, cursors: Cursors) -> None:
        self._accounts = accounts
        self._cursors = cursors
        self._input = AccountInput()
        self._changes = AccountChanges()

    def blueprint(self) -> Blueprint:
        """The routes."""
        routes = Blueprint("accounts", __name__, url_prefix="/api/accounts")
        routes.add_url_rule("", "list", view(self.list), methods=["GET"])
        routes.add_url_rule("", "create", view(self.create), methods=["POST"])
        routes.add_url_rule("/<account_id>", "find", view(self.find), methods=["GET"])
        routes.add_url_rule("/<account_id>", "change", view(self.change), methods=["PATCH"])
        routes.add_url_rule("/<account_id>/balance", "balance", view(self.balance), methods=["GET"])
        return routes

    def list(self, environ: WSGIEnvironment) -> Answer:
        """A page of accounts by id; with `user_id`, those of that user."""
        ctx, ledger_id = admit(environ, "read", parameters=True)
        asked, filters = page(environ, ctx, self._cursors, "accounts", ledger_id, "user_id")
        rows = self._accounts.list(
            ctx, ledger_id, after_id=asked.position or 0, limit=asked.limit + 1, user_id=query_id(filters, "user_id")
        )
        return asked.answer(ctx, self._cursors, rows, show_account, lambda account: account.id)

    def create(self, environ: WSGIEnvironment) -> Answer:
        """201 with the account and where it is."""
        ctx, ledger_id = admit(environ, "write")
        account = self._accounts.create(ctx, ledger_id, **load(self._input, read_object(environ)))
        return Answer(show_account(account), 201, Location=f"/api/accounts/{account.id}", ETag=f'"{account.etag}"')

    def find(self, environ: WSGIEnvironment, account_id: str) -> Answer:
        """One account."""
        ctx, ledger_id = admit(environ, "read")
        account = self._accounts.find(ctx, ledger_id, path_id("account", account_id))
        return Answer(show_account(account), ETag=f'"{account.etag}"')

    def change(self, environ: WSGIEnvironment, account_id: str) -> Answer:
        """The account with changed settings; `If-Match` guards against a change in between."""
        ctx, ledger_id = admit(environ, "write")
        number, changes = path_id("account", account_id), load(self._changes, read_object(environ))
        if not changes:
            raise InvalidInput("Nothing to change: name at least one of status, min_balance, max_balance, metadata.")
        account = self._accounts.update(ctx, ledger_id, number, changes, if_etag=if_match(environ))
        return Answer(show_account(account), ETag=f'"{account.etag}"')

    def balance(self, environ: WSGIEnvironment, account_id: str) -> Answer:
        """What the account holds now, in minor units."""
        ctx, ledger_id = admit(environ, "read")
        account = self._accounts.find(ctx, ledger_id, path_id("account", account_id))
        shown = {
            "account_id": account.id, "asset": account.asset, "balance": account.balance, "held": account.held,
            "available": account.available, "version": account.version, "updated_at": show_time(account.updated_at),
        }
        return Answer(shown)
