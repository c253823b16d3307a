"""What a request says of the version that it is about, or that its client has already (RFC 9110, 13; RFC 9111, 5.2.1)."""

from __future__ import annotations

import re

from service.api.calls import Call
from service.errors import FieldError, InvalidInput

_TAGS = re.compile(r'(?:W/)?("[^"]*")')


def if_match(call: Call) -> str | None:
    """The one version in `If-Match`, or None when any will do. Raises InvalidInput for what is no entity tag."""
    header: str | None = call.environ.get("HTTP_IF_MATCH")
    if header is None or header.strip() == "*":
        return None
    tag = header.strip()
    if len(tag) >= 3 and tag[0] == tag[-1] == '"' and '"' not in tag[1:-1]:
        return tag[1:-1]
    message = 'expected one strong entity tag as an ETag header gave it, such as "3", or *'
    raise InvalidInput(f"If-Match: {message}.", fields=(FieldError("If-Match", message),))


def is_known(call: Call, tag: str) -> bool:
    """Whether `If-None-Match` names `tag`, quotes included: then the client has what it asks for. The comparison is weak."""
    header: str | None = call.environ.get("HTTP_IF_NONE_MATCH")
    return header is not None and (header.strip() == "*" or tag in _TAGS.findall(header))


def wants_anew(call: Call) -> bool:
    """Whether `Cache-Control: no-cache` asks for the database's word."""
    header: str | None = call.environ.get("HTTP_CACHE_CONTROL")
    return header is not None and "no-cache" in (word.strip().lower() for word in header.split(","))
