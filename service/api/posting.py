"""What the routes that post have in common: keys, dry runs, who may debit what, and how they answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.api.calls import Answer, Call, parameters
from service.api.fields import whole
from service.api.filters import query_word
from service.api.parameters import WRITTEN
from service.api.positions import HEADER, Positions
from service.api.representation import show_transfer
from service.api.routes import Header, Parameter
from service.errors import FieldError, Forbidden, InvalidInput
from service.ledger.transfers import Posted, PostRequest
from service.middleware.environ import KEY_REPEATED

_KEY = re.compile(r'"([ !#-~]{1,255})"|([!#-~]{1,255})')
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", "1 to 255 printable ASCII characters, bare or in double quotes: one key, one effect, for ever",
    {"type": "string", "pattern": whole(_KEY), "examples": ["order-1001"]},
)
DRY_RUN = Parameter(
    "dry_run", "`true`: answer what would happen now, and post nothing", {"type": "string", "enum": ["true", "false"]}
)
POSTED = {  # the headers of their answers; a dry run has none of them
    "Location": Header("the path of what was posted, or of the first of it", always=False),
    "Ledger-Position": Header(WRITTEN["Ledger-Position"].meaning, WRITTEN["Ledger-Position"].schema, always=False),
    "Idempotency-Replayed": Header("its key had posted it", {"const": "true"}, only=200, always=False),
}


def idempotency_key(environ: Mapping[str, Any]) -> str | None:
    """The `Idempotency-Key`, quoted or bare, or None without one. Raises InvalidInput."""
    header = environ.get("HTTP_IDEMPOTENCY_KEY")
    if header is None:
        return None
    if KEY_REPEATED in environ:
        raise _no_key("given more than once")
    match = _KEY.fullmatch(header)
    if match is None:
        raise _no_key("expected 1 to 255 printable ASCII characters, bare without spaces or in double quotes")
    return match[1] or match[2]


def _no_key(message: str) -> InvalidInput:
    return InvalidInput(f"Idempotency-Key: {message}.", fields=(FieldError("Idempotency-Key", message),))


def is_dry_run(call: Call) -> bool:
    """Whether the query says so. Raises InvalidInput for any other parameter."""
    return bool(call.environ.get("QUERY_STRING")) and (
        query_word(parameters(call, DRY_RUN.name), DRY_RUN.name, "true", "false") == "true"
    )


def check_debits(call: Call, requests: Sequence[PostRequest], fields: Sequence[str]) -> None:
    """Raise Forbidden where the key may not debit an account that one of `requests` does; `fields` has what to blame."""
    debits = zip(requests, fields, strict=True)
    if to_blame := [field for request, field in debits if not call.principal.may_debit(request.from_account_id)]:
        raise debits_forbidden(to_blame)


def debits_forbidden(fields: Iterable[str], message: str = "This API key may debit some accounts only.") -> Forbidden:
    """The error that blames `fields` for accounts that the key may not debit."""
    return Forbidden(message, fields=tuple(FieldError(field, "this API key may not debit this account") for field in fields))


def answer_posted(call: Call, positions: Positions, posted: Posted) -> Answer:
    """201 with the transfer; 200 when its key had posted it before, and for a dry run."""
    return _answer(call, positions, posted, show_transfer(posted.transfer))


def answer_linked(call: Call, positions: Positions, posted: Sequence[Posted]) -> Answer:
    """The same of several that were posted together."""
    return _answer(call, positions, posted[0], {"transfers": [show_transfer(each.transfer) for each in posted]})


def _answer(call: Call, positions: Positions, first: Posted, content: Mapping[str, Any]) -> Answer:
    if not first.transfer.id:
        return Answer(content, 200)
    headers = {"Location": f"/api/transfers/{first.transfer.id}", HEADER: positions.tell(call, first.position)}
    if first.replayed:
        return Answer(content, 200, **headers, Idempotency_Replayed="true")
    return Answer(content, 201, **headers)
