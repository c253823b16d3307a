"""Parameters and headers that several routes have, or all of them."""

from __future__ import annotations

from service.api.calls import DEFAULT_LIMIT, GREATEST_LIMIT
from service.api.cursors import LENGTH
from service.api.fields import TIME as TIME_PATTERN
from service.api.fields import WITHOUT_NUL, whole
from service.api.routes import Header, Parameter
from service.ledger.money import GREATEST_ID
from service.middleware.deadline import SECONDS
from service.middleware.request_id import SANE

ID = {"type": "integer", "minimum": 1, "maximum": GREATEST_ID}
CURSOR = {"type": "string", "pattern": f"^[A-Za-z0-9_-]{{{LENGTH}}}$"}
SEARCHED = {"type": "string", "pattern": WITHOUT_NUL}
TAG = {"type": "string", "pattern": '^"[!#-~]+"$'}
TIME = {"type": "string", "format": "date-time", "pattern": whole(TIME_PATTERN), "examples": ["2026-01-31T09:30:00Z"]}
LIMIT = Parameter(
    "limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": GREATEST_LIMIT, "default": DEFAULT_LIMIT}
)
PAGE = (LIMIT, Parameter("cursor", "`next_cursor` of the page before, with the same parameters as there", CURSOR))
FROM = Parameter("from", "the time from which on", TIME)
TO = Parameter("to", "the time until which, itself excluded", TIME)
WANTED = (
    Parameter("account_id", "from or to which they are", ID),
    Parameter("reference", "the reference that they have", {**SEARCHED, "minLength": 1, "maxLength": 255}),
    FROM,
    TO,
)
IF_MATCH = Parameter(
    "If-Match", "one entity tag as `ETag` gave it, quotes included, or `*` for any version",
    {"type": "string", "pattern": r'^(\*|"[!#-~]+")$', "examples": ["*", '"1"']},
)
IF_NONE_MATCH = Parameter("If-None-Match", "entity tags as `ETag` gave them: 304 while one is current")
CACHE_CONTROL = Parameter(
    "Cache-Control", "`no-cache`: as the database has it now; any other value is passed over",
    {"type": "string", "examples": ["no-cache"]},
)
REQUEST_TIMEOUT = Parameter(
    "Request-Timeout", "seconds until the answer is no longer wanted; at most the server's maximum, which holds without it",
    {"type": "string", "pattern": whole(SECONDS), "not": {"pattern": "^[0.]*$"}, "examples": ["2.5"]},
)
REQUEST_ID = Parameter(
    "X-Request-ID", f"taken as this request's id where it is one of `{SANE.pattern}`; any other value is passed over",
)
_POSITION = f"[A-Za-z0-9_-]{{{LENGTH}}}"
LEDGER_POSITION = Parameter(
    "Ledger-Position", "positions as writes answered them, commas between: the answer is from a server that has reached them",
    {"type": "string", "pattern": f"^{_POSITION}( *, *{_POSITION}){{0,7}}$"},
)
TRACEPARENT = Parameter(
    "traceparent", "the trace that the request belongs to, as W3C Trace Context has it; what is none is passed over",
    {"type": "string", "examples": ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]},
)
ASKED = (REQUEST_TIMEOUT, REQUEST_ID, TRACEPARENT)  # every route takes these

ANSWERED = {  # every answer may have these
    "X-Request-ID": Header("the id under which the log has this request", {"type": "string", "pattern": whole(SANE)}),
    "traceparent": Header(
        "the trace, which the log has too, and the request's span in it",
        {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
    ),
    "tracestate": Header("as it came, beside a valid traceparent", always=False),
}
_RATE = '^"key";q=[0-9]+;w=[0-9]+$', '^"key";r=[0-9]+;t=[0-9]+$'
COUNTED = {  # every answer to a valid key has these
    "RateLimit-Policy": Header(
        "q requests in any w seconds are never refused", {"type": "string", "pattern": _RATE[0]}, always=False
    ),
    "RateLimit": Header(
        "r requests are left, and all of them again in t seconds", {"type": "string", "pattern": _RATE[1]}, always=False
    ),
}
MADE = {"Location": Header("the path of what was made")}
TAGGED = {"ETag": Header("its version, for `If-Match`", TAG)}
WRITTEN = {
    "Ledger-Position": Header("where the ledger stands after this write; a read that brings it sees the write", CURSOR),
}
