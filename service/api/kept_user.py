"""GET /api/users/{id} in front of everything, for a key and a user that are both kept: nothing has to be waited for.

Every layer of the middleware costs something, and a read of a kept user little else. So where no layer would do more than it
always does, their parts are called one after the other here: key, scope, limit, cache, ids, log, metrics. Whatever could make
an answer another one, be it a header that some layer reads, goes through the chain; and so does what is not kept, for the
chain to find it, and what is refused, for the chain to say why. Tests hold both ways equal, and that no header is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.api.calls import read_id
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


class KeptUser:
    """`app` with this in front. `find_principal` and `find_user` find only what is kept; the others are the chain's."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        find_principal: Callable[[str], Principal | None],
        find_user: Callable[[UserKey], FoundUser | None],
        take_key: Callable[[Principal], Taken],
        sample: Sample,
        began: Callable[[], None],
        ended: Sequence[Ended],
    ) -> None:
        self._app = app
        self._find_principal = find_principal
        self._find_user = find_user
        self._take_key = take_key
        self._sample = sample
        self._began = began
        self._ended = ended

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began_at = monotonic()
        principal = self._who_may_read(environ)
        if principal is None:
            return self._app(environ, start_response)
        user_id = read_id(environ["PATH_INFO"][len(_BEFORE_ID) :])
        found = None if user_id is None else self._find_user((principal.ledger_id, user_id))
        if found is None or found.body is None:
            return self._app(environ, start_response)
        limit, taken, fill_ns = self._take_key(principal)
        if not taken:
            return self._app(environ, start_response)
        self._began()
        request_id = environ[REQUEST_ID] = choose_id(environ)
        trace = environ[TRACE] = begin_trace(environ, self._sample)
        environ[CLIENT_ADDRESS], environ[PRINCIPAL], environ[ROUTE] = peer_address(environ), principal, PATH
        start_response("200 OK", [
            *found.headers, ("X-Request-ID", request_id), *trace_headers(trace), *limit_headers(limit, fill_ns),
        ])
        tell(self._ended, environ, 200, monotonic() - began_at, len(found.body))
        return [found.body]

    def _who_may_read(self, environ: WSGIEnvironment) -> Principal | None:
        """Whose key it is, if this is a read of one user and nothing else."""
        path, authorization = environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION", "")
        if not (
            environ["REQUEST_METHOD"] == "GET"
            and path.startswith(_BEFORE_ID)
            and authorization.startswith(_BEARER)
            and environ.get("RAW_URI") == path  # no query, and nothing encoded
            and is_host(environ.get("HTTP_HOST", ""))
            and environ.get("CONTENT_LENGTH", "0") == "0"
            and environ.keys().isdisjoint(DECIDING)
        ):
            return None
        principal = self._find_principal(authorization[len(_BEARER) :])
        return principal if principal is not None and SCOPE in principal.scopes else None
