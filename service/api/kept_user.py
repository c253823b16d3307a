"""GET /api/users/{id} from its head alone, for a key and a user that are both kept: nothing has to be waited for.

Every layer of the middleware costs something, an environment and a list of headers too, and a read of a kept user little else.
So the request loop asks here first. Where no layer would do more than it always does, their parts are called one after the
other: key, scope, limit, cache, ids, log, metrics. What the fields of a head say is found out once, since a client sends the
same ones again and again. Whatever could make an answer another one, be it a header that some layer reads, goes through the
chain; and so does what is not kept, for the chain to find it, and what is refused, for the chain to say why. Tests hold both
ways equal, and that no header is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from wsgiref.types import WSGIEnvironment

from service.api.calls import as_lines, read_id
from service.api.users import show_once
from service.concurrency.primitives import monotonic
from service.ledger.principal import Principal
from service.ledger.user_cache import FoundUser, UserKey
from service.middleware.client_address import peer_address
from service.middleware.environ import CLIENT_ADDRESS, PRINCIPAL, REQUEST_ID, ROUTE, TRACE
from service.middleware.observation import Ended, tell
from service.middleware.rate_limit import Taken, limit_headers
from service.middleware.request_id import choose_id
from service.middleware.request_target import is_host
from service.middleware.tracing import Sample, begin_trace, trace_headers

DECIDING = frozenset({  # headers by which some layer, or the handler, would do something else
    "HTTP_CACHE_CONTROL", "HTTP_IF_NONE_MATCH", "HTTP_LEDGER_POSITION", "HTTP_ORIGIN", "HTTP_REQUEST_TIMEOUT",
    "HTTP_TRANSFER_ENCODING", "HTTP_X_FORWARDED_FOR",
})
PATH, SCOPE = "/api/users/<user_id>", "users:read"
_BEFORE_ID, _BEARER = "/api/users/", "Bearer "
_TOKEN = "kept_user.token"  # noqa: S105  # nosec B105  # the name of a fact

AtOnce = tuple[str, str, bytes]
"""A whole answer: its status, the lines of its headers, its body."""


class Fields(Protocol):
    """The fields of a head, as the request loop keeps them: what they are in a WSGI environment, and a place for facts."""

    environ: dict[str, Any]
    facts: dict[str, Any]


class KeptUser:
    """See the module. `find_principal` and `find_user` find only what is kept."""

    def __init__(
        self,
        *,
        find_principal: Callable[[str], Principal | None],
        find_user: Callable[[UserKey], FoundUser | None],
        take_key: Callable[[Principal], Taken],
        sample: Sample,
        began: Callable[[], None],
        ended: Sequence[Ended],
    ) -> None:
        self._find_principal = find_principal
        self._find_user = find_user
        self._take_key = take_key
        self._sample = sample
        self._began = began
        self._ended = ended

    def answer(self, method: str, path: str, fields: Fields, base: WSGIEnvironment) -> AtOnce | None:
        """The answer to a request without a body; None where it has to go through the chain, which nothing here forestalls.

        `path` has no query and nothing encoded; `base` is what the WSGI environments of the connection have in common.
        """
        if method != "GET" or not path.startswith(_BEFORE_ID):
            return None
        began_at = monotonic()
        principal = self._who_may_read(fields)
        user_id = read_id(path[len(_BEFORE_ID) :])
        if principal is None or user_id is None:
            return None
        found = self._find_user((principal.ledger_id, user_id))
        if found is None:
            return None
        limit, taken, fill_ns = self._take_key(principal)
        if not taken:
            return None
        body = show_once(found)
        self._began()
        request_id, trace = choose_id(fields.environ), begin_trace(fields.environ, self._sample)
        told = {  # what those who are told of answers ask for
            "REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.url_scheme": fields.environ.get("wsgi.url_scheme", "http"),
            CLIENT_ADDRESS: peer_address(base), PRINCIPAL: principal, REQUEST_ID: request_id, ROUTE: PATH, TRACE: trace,
        }
        tell(self._ended, told, 200, monotonic() - began_at, len(body))
        more = as_lines((("X-Request-ID", request_id), *trace_headers(trace), *limit_headers(limit, fill_ns)))
        return "200 OK", found.head + more, body

    def _who_may_read(self, fields: Fields) -> Principal | None:
        """Whose key it is, if the fields ask for nothing but a read."""
        facts = fields.facts
        if _TOKEN not in facts:
            facts[_TOKEN] = _plain_token(fields.environ)
        token = facts[_TOKEN]
        principal = None if token is None else self._find_principal(token)
        return principal if principal is not None and SCOPE in principal.scopes else None


def _plain_token(environ: Mapping[str, Any]) -> str | None:
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    plain = authorization.startswith(_BEARER) and is_host(environ["HTTP_HOST"]) and environ.keys().isdisjoint(DECIDING)
    return authorization[len(_BEARER) :] if plain else None
