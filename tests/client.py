"""Clients: one that calls the WSGI application in this process, one over a real connection that is kept alive."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

from werkzeug.test import Client

from service.api.problem import CLIENT_CLOSED_REQUEST
from service.app import Application
from service.middleware.environ import CLIENT_LEFT, TAKE_OVER
from tests.at_once import asked_first
from tests.contract.document import contract
from tests.reply import Reply

__all__ = ["ApiClient", "HttpClient", "Reply"]


class ApiClient:
    """Calls the application as the request loop does, without a server; each answer must be one that is documented."""

    def __init__(self, application: Application, key: str | None) -> None:
        self.application = application
        self._client = Client(asked_first(application))
        self.key = key

    def call(
        self, method: str, path: str, body: Any = None, /,
        *, raw: bytes | None = None, client_left: Callable[..., Any] | None = None, peer: str = "127.0.0.1",
        take_over: Callable[..., Any] | None = None, **headers: str,
    ) -> Reply:
        """Send a request; `body` goes as JSON, `raw` as it is; header names are given with underscores.

        `client_left` and `take_over` are the server's hooks by these names (service/middleware/environ.py), `peer` the
        address that it comes from.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            named.setdefault("Authorization", f"Bearer {self.key}")
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if data is not None:
            named.setdefault("Content-Type", "application/json")
        hooks = {CLIENT_LEFT: client_left, TAKE_OVER: take_over}
        environ = {"REMOTE_ADDR": peer} | {name: hook for name, hook in hooks.items() if hook is not None}
        with self._client.open(path, method=method, data=data, headers=named, environ_overrides=environ) as answer:
            reply = Reply(answer.status_code, dict(answer.headers), answer.get_data())
        if reply.status != CLIENT_CLOSED_REQUEST:  # nobody sees it
            contract().check(method, path, reply)
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        """GET."""
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """POST as JSON."""
        return self.call("POST", path, body, **headers)

    def user(self, name: str = "Ada", email: str = "ada@example.com") -> dict[str, Any]:
        """Make a user."""
        return self._made("/api/users", {"name": name, "email": email})

    def account(self, **fields: Any) -> dict[str, Any]:
        """Open an account, in USD/2 unless told otherwise."""
        return self._made("/api/accounts", {"asset": "USD/2", **fields})

    def transfer(self, source: int, target: int, amount: int, **fields: Any) -> Reply:
        """Post a transfer."""
        return self.post("/api/transfers", {"from_account_id": source, "to_account_id": target, "amount": amount, **fields})

    def whole_list(self, path: str, limit: int) -> list[dict[str, Any]]:
        """Every element, `limit` a page at most."""
        found: list[dict[str, Any]] = []
        joint, cursor = "&" if "?" in path else "?", ""
        for _ in range(100):
            reply = self.get(f"{path}{joint}limit={limit}{cursor}")
            assert reply.status == 200, reply.body
            assert len(reply.json["data"]) <= limit
            found += reply.json["data"]
            if reply.json["next_cursor"] is None:
                return found
            cursor = f"&cursor={reply.json['next_cursor']}"
        raise AssertionError("the list does not end")

    def _made(self, path: str, body: Any) -> dict[str, Any]:
        reply = self.post(path, body)
        assert reply.status == 201, reply.body
        made: dict[str, Any] = reply.json
        return made


class HttpClient:
    """One keep-alive connection to a real server; reconnects when it was closed."""

    def __init__(self, port: int, key: str | None, timeout_s: float = 60) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def call(self, method: str, path: str, body: Any = None, /, **headers: str) -> Reply:
        """Send a request. Raises OSError or http.client.HTTPException when the connection breaks."""
        named = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), named)
            answer = self._connection.getresponse()
            return Reply(answer.status, dict(answer.getheaders()), answer.read())
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
