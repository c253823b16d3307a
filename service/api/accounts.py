"""/api/accounts: open, list, read and change accounts."""

from __future__ import annotations

from collections.abc import Iterable

from service.api.answers import AccountAnswer, AccountPage
from service.api.body import read_object
from service.api.calls import Answer, Call, page, path_id
from service.api.conditions import if_match
from service.api.cursors import Cursors
from service.api.filters import query_id
from service.api.parameters import ID, IF_MATCH, MADE, PAGE, TAGGED, WRITTEN
from service.api.positions import Positions
from service.api.representation import show_account
from service.api.routes import Parameter, Route
from service.api.schemas import AccountChanges, AccountInput, load
from service.errors import InvalidInput
from service.ledger.accounts import Accounts


class AccountHandlers:
    """The handlers, with what they need."""

    def __init__(self, accounts: Accounts, cursors: Cursors) -> None:
        self._accounts = accounts
        self._cursors = cursors
        self._positions = Positions(cursors)
        self._input = AccountInput()
        self._changes = AccountChanges()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/accounts", handler=self.list, scope="accounts:read",
            summary="A page of accounts by id; with `user_id`, those of that user",
            query=(*PAGE, Parameter("user_id", "whose they are", ID)), answers={200: AccountPage()},
        )
        yield Route(
            method="POST", path="/api/accounts", handler=self.create, scope="accounts:write", summary="Open an account",
            body=self._input, answers={201: AccountAnswer()}, answer_headers=MADE | TAGGED | WRITTEN, errors=("not_found",),
        )
        yield Route(
            method="GET", path="/api/accounts/<account_id>", handler=self.find, scope="accounts:read", summary="One account",
            answers={200: AccountAnswer()}, answer_headers=TAGGED, errors=("not_found",),
        )
        yield Route(
            method="PATCH", path="/api/accounts/<account_id>", handler=self.change, scope="accounts:write",
            summary="Change an account's settings; `If-Match` guards against a change in between", headers=(IF_MATCH,),
            body=self._changes, answers={200: AccountAnswer()}, answer_headers=TAGGED | WRITTEN,
            errors=("not_found", "conflict", "version_mismatch"),
        )

    def list(self, call: Call) -> Answer:
        """A page of accounts by id; with `user_id`, those of that user."""
        asked, filters = page(call, self._cursors, "accounts", "user_id")
        rows = self._accounts.list(
            call.ctx, call.ledger_id, after_id=asked.position or 0, limit=asked.limit + 1, user_id=query_id(filters, "user_id")
        )
        return asked.answer(call.ctx, self._cursors, rows, show_account, lambda account: account.id)

    def create(self, call: Call) -> Answer:
        """201 with the account and where it is."""
        made = self._accounts.create(call.ctx, call.ledger_id, **load(self._input, read_object(call.environ)))
        account, position = made.thing, self._positions.tell(call, made.position)
        where = f"/api/accounts/{account.id}"
        return Answer(show_account(account), 201, Location=where, ETag=f'"{account.etag}"', Ledger_Position=position)

    def find(self, call: Call, account_id: str) -> Answer:
        """One account."""
        account = self._accounts.find(call.ctx, call.ledger_id, path_id("account", account_id))
        return Answer(show_account(account), ETag=f'"{account.etag}"')

    def change(self, call: Call, account_id: str) -> Answer:
        """The account with changed settings; `If-Match` guards against a change in between."""
        number, changes = path_id("account", account_id), load(self._changes, read_object(call.environ))
        if not changes:
            raise InvalidInput("Nothing to change: name at least one of status, min_balance, max_balance, metadata.")
        made = self._accounts.update(call.ctx, call.ledger_id, number, changes, if_etag=if_match(call))
        account, position = made.thing, self._positions.tell(call, made.position)
        return Answer(show_account(account), ETag=f'"{account.etag}"', Ledger_Position=position)
