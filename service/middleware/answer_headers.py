"""What the layers within add to an answer's head, put there in one place; and the answer's status, for those who watch.

A layer of its own around `start_response` for each header would cost a function and two calls a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.middleware.environ import ANSWER_HEADERS, ANSWER_STATUS, ExcInfo, Headers


def answer_headers(app: WSGIApplication) -> WSGIApplication:
    """Set `ledgerd.answer_headers`, whose headers are added to the answer's, and `ledgerd.answer_status` when it begins."""

    def with_answer_headers(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        added: Headers = []
        environ[ANSWER_HEADERS], environ[ANSWER_STATUS] = added, 0

        def start(status: str, headers: Headers, exc_info: ExcInfo = None) -> Callable[[bytes], object]:
            environ[ANSWER_STATUS] = int(status[:3])
            headers += added
            return start_response(status, headers, exc_info)

        return app(environ, start)

    return with_answer_headers
