"""Clients: one that calls the WSGI application in this process, one over a real connection that is kept alive."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from werkzeug.test import Client

from service.app import Application
from service.middleware.environ import CLIENT_LEFT


@dataclass(frozen=True)
class Reply:
    """An answer; `json` is None when the body is not JSON."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body) if self.body else None

    @property
    def code(self) -> str | None:
        """The error code, None for a success."""
        return self.json.get("code") if isinstance(self.json, dict) else None

    @property
    def fields(self) -> list[str]:
        """The fields that the error blames."""
        return [error["field"] for error in self.json.get("errors", [])]


class ApiClient:
    """Calls the application through its whole middleware, without a server."""

    def __init__(self, application: Application, key: str | None) -> None:
        self._client = Client(application)
        self.key = key

    def call(
        self, method: str, path: str, body: Any = None, /,
        *, raw: bytes | None = None, client_left: Callable[..., Any] | None = None, peer: str = "127.0.0.1", **headers: str,
    ) -> Reply:
        """Send a request; `body` goes as JSON, `raw` as it is; header names are given with underscores.

        `client_left` is the server's hook by that name (service/middleware/environ.py), `peer` the address that it comes from.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key is not None:
            named.setdefault("Authorization", f"Bearer {self.key}")
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if data is not None:
            named.setdefault("Content-Type", "application/json")
        environ = {"REMOTE_ADDR": peer} | ({} if client_left is None else {CLIENT_LEFT: client_left})
        with self._client.open(path, method=method, data=data, headers=named, environ_overrides=environ) as answer:
            return Reply(answer.status_code, dict(answer.headers), answer.get_data())

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
