"""What there is: each unary method once, with the route that it is the translation of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.api.routes import Route
from service.rpc.method import Method
from service.rpc.v1 import users_pb2

USERS = "ledgerd.v1.UserService"


def methods(routes: Iterable[Route]) -> Mapping[str, Method]:
    """The unary methods by their path."""
    found = {(route.method, route.path): route for route in routes}
    services = {USERS: _user_methods(found)}
    return {f"/{service}/{name}": method for service, table in services.items() for name, method in table.items()}


def _user_methods(routes: Mapping[tuple[str, str], Route]) -> Mapping[str, Method]:
    all_users, one_user = "/api/users", "/api/users/<user_id>"
    return {
        "GetUser": Method(routes["GET", one_user], users_pb2.GetUserRequest, users_pb2.User),
        "ListUsers": Method(
            routes["GET", all_users], users_pb2.ListUsersRequest, users_pb2.ListUsersResponse, rows="users"
        ),
        "CreateUser": Method(routes["POST", all_users], users_pb2.CreateUserRequest, users_pb2.User),
        "UpdateUser": Method(routes["PUT", one_user], users_pb2.UpdateUserRequest, users_pb2.User),
        "DeleteUser": Method(routes["DELETE", one_user], users_pb2.DeleteUserRequest, users_pb2.DeleteUserResponse),
    }
