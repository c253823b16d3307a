"""The answer to what is no request, or fails outside of the application: problem+json, as every other error.

gunicorn would answer in HTML, and repeat what it did not like, there and in its log: a line, a field's value, perhaps a key.
"""

from __future__ import annotations

import json
import logging
import os
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors as gunicorn_errors
from gunicorn.util import write_nonblock

from service.errors import Internal, LedgerdError, MalformedRequest

log = logging.getLogger("ledgerd.server")

_OURS = (gunicorn_errors.InvalidResponseHeader, gunicorn_errors.InvalidResponseHeaderName)
_REFUSED = {  # the most special first; 400 for whatever else the parser refuses
    gunicorn_errors.LimitRequestLine: (414, "The request line is too long: at most 4094 bytes."),
    gunicorn_errors.LimitRequestHeaders: (431, "The header is too large: at most 100 fields of 8190 bytes each."),
    gunicorn_errors.ExpectationFailed: (417, "The only expectation that is met is `Expect: 100-continue`."),
    gunicorn_errors.UnsupportedTransferCoding: (501, "The only transfer coding is `chunked`."),
    gunicorn_errors.ForbiddenProxyRequest: (403, "The proxy protocol is not spoken here."),
    gunicorn_errors.InvalidRequestLine: (400, "The request line is malformed; expected such as `GET /api/users HTTP/1.1`."),
    gunicorn_errors.InvalidRequestMethod: (400, "The method is malformed; expected such as GET or POST."),
    gunicorn_errors.InvalidHTTPVersion: (400, "The version of HTTP is not spoken here; expected HTTP/1.1."),
    gunicorn_errors.ObsoleteFolding: (400, "A header field goes on in the next line, which is obsolete."),
    gunicorn_errors.InvalidHeader: (400, "A header field is malformed, given twice, or contradicts another."),
    gunicorn_errors.InvalidHeaderName: (400, "The name of a header field is malformed."),
    gunicorn_errors.InvalidChunkSize: (400, "The size of a chunk is malformed."),
    gunicorn_errors.ParseException: (400, "The request cannot be read as HTTP."),
}


def refuse(sock: Any, error: BaseException) -> None:
    """Answer `error`, and log it: what a client did wrong by its kind alone, what we did wrong with the traceback."""
    from service.api.problem import describe

    request_id = os.urandom(12).hex()
    status, problem = classify(error)
    phrase = HTTPStatus(status).phrase
    fields = {"request_id": request_id, "status": status, "kind": type(error).__name__}
    if isinstance(problem, Internal):
        log.error("a request failed outside of the application", exc_info=error, extra={"fields": fields})
    else:
        log.info("not a request", extra={"fields": fields})
    body = json.dumps(describe(problem, request_id) | {"status": status, "title": phrase}).encode()
    head = (
        f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nX-Request-ID: {request_id}\r\n\r\n"
    )
    write_nonblock(sock, head.encode("ascii") + body)


def refuse_other_codings(request: Any) -> None:
    """Raise UnsupportedTransferCoding unless a body comes as it is, or in chunks alone.

    gunicorn takes compressed chunks, and would give the application what is in them as if it were the body.
    """
    for name, value in request.headers:
        if name == "TRANSFER-ENCODING" and value.strip(" \t").lower() != "chunked":
            raise gunicorn_errors.UnsupportedTransferCoding(value)


def classify(error: BaseException) -> tuple[int, LedgerdError]:
    """The status, and the error of the taxonomy that the body tells."""
    if not isinstance(error, _OURS):
        for kind, (status, text) in _REFUSED.items():
            if isinstance(error, kind):
                return status, MalformedRequest(text)
    return 500, Internal("Something went wrong here; the log has it under this id.")
