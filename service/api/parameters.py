"""Parameters and headers that several routes have."""

from __future__ import annotations

from service.api.calls import DEFAULT_LIMIT, GREATEST_LIMIT
from service.api.routes import Parameter
from service.ledger.money import GREATEST_ID

ID = {"type": "integer", "minimum": 1, "maximum": GREATEST_ID}
TIME = {"type": "string", "format": "date-time"}
LIMIT = Parameter(
    "limit", "how many at most", {"type": "integer", "minimum": 1, "maximum": GREATEST_LIMIT, "default": DEFAULT_LIMIT}
)
PAGE = (LIMIT, Parameter("cursor", "`next_cursor` of the page before"))
IF_MATCH = Parameter("If-Match", "one entity tag as `ETag` gave it, quotes included, or `*` for any version")
IDEMPOTENCY_KEY = Parameter("Idempotency-Key", "1 to 255 printable ASCII characters: one key, one effect, for ever")
FROM = Parameter("from", "the time from which on, such as 2026-01-31T09:30:00Z", TIME)
TO = Parameter("to", "the time until which, itself excluded", TIME)
WANTED = (
    Parameter("account_id", "from or to which they are", ID),
    Parameter("reference", "the reference that they have", {"type": "string", "minLength": 1, "maxLength": 255}),
    FROM,
    TO,
)
MADE = {"Location": "the path of what was made"}
TAGGED = {"ETag": "its version, for `If-Match`"}
WRITTEN = {"Ledger-Position": "where the ledger stands after this write; a read that brings it sees the write"}
