"""What there is: each unary method once, with the route that it is the translation of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.api.routes import Route
from service.rpc.method import Method
from service.rpc.v1 import ledger_pb2 as ledger
from service.rpc.v1 import users_pb2 as users

USERS, LEDGER = "ledgerd.v1.UserService", "ledgerd.v1.LedgerService"
STREAM_EVENTS = f"/{LEDGER}/StreamEvents"
Routes = Mapping[tuple[str, str], Route]
Table = Mapping[str, Method]


def methods(routes: Iterable[Route]) -> Table:
    """The unary methods by their path."""
    found = {(route.method, route.path): route for route in routes}
    services = {USERS: _users(found), LEDGER: {**_accounts(found), **_transfers(found)}}
    return {f"/{service}/{name}": method for service, table in services.items() for name, method in table.items()}


def _users(routes: Routes) -> Table:
    every, one = "/api/users", "/api/users/<user_id>"
    return {
        "GetUser": Method(routes["GET", one], users.GetUserRequest, users.User),
        "ListUsers": Method(routes["GET", every], users.ListUsersRequest, users.ListUsersResponse, rows="users"),
        "CreateUser": Method(routes["POST", every], users.CreateUserRequest, users.User),
        "UpdateUser": Method(routes["PUT", one], users.UpdateUserRequest, users.User),
        "DeleteUser": Method(routes["DELETE", one], users.DeleteUserRequest, users.DeleteUserResponse),
    }


def _accounts(routes: Routes) -> Table:
    every, one = "/api/accounts", "/api/accounts/<account_id>"
    return {
        "CreateAccount": Method(routes["POST", every], ledger.CreateAccountRequest, ledger.Account),
        "GetAccount": Method(routes["GET", one], ledger.GetAccountRequest, ledger.Account),
        "ListAccounts": Method(
            routes["GET", every], ledger.ListAccountsRequest, ledger.ListAccountsResponse, rows="accounts"
        ),
        "UpdateAccount": Method(routes["PATCH", one], ledger.UpdateAccountRequest, ledger.Account),
        "GetBalance": Method(routes["GET", f"{one}/balance"], ledger.GetBalanceRequest, ledger.Balance),
        "ListEntries": Method(
            routes["GET", f"{one}/entries"], ledger.ListEntriesRequest, ledger.ListEntriesResponse, rows="entries"
        ),
    }


def _transfers(routes: Routes) -> Table:
    every = "/api/transfers"
    return {
        "CreateTransfer": Method(routes["POST", every], ledger.CreateTransferRequest, ledger.Transfer),
        "CreateLinkedTransfers": Method(
            routes["POST", f"{every}/linked"], ledger.CreateLinkedTransfersRequest, ledger.CreateLinkedTransfersResponse
        ),
        "GetTransfer": Method(routes["GET", f"{every}/<transfer_id>"], ledger.GetTransferRequest, ledger.Transfer),
        "ListTransfers": Method(
            routes["GET", every], ledger.ListTransfersRequest, ledger.ListTransfersResponse, rows="transfers"
        ),
        "CaptureHold": Method(routes["POST", f"{every}/<hold_id>/capture"], ledger.CaptureHoldRequest, ledger.Transfer),
        "ReleaseHold": Method(routes["POST", f"{every}/<hold_id>/release"], ledger.ReleaseHoldRequest, ledger.Transfer),
        "ReverseTransfer": Method(
            routes["POST", f"{every}/<transfer_id>/reverse"], ledger.ReverseTransferRequest, ledger.Transfer
        ),
    }
