"""No exception leaves the application: the taxonomy's errors become their answers, any other a 500 that tells nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from service.errors import Internal, LedgerdError
from service.middleware.environ import REQUEST_ID, Middleware, Render

log = logging.getLogger(__name__)


def recovery(render: Render) -> Middleware:
    """Answer errors with `render`; log those that are ledgerd's own fault, with their traceback."""

    def layer(app: WSGIApplication) -> WSGIApplication:
        def with_recovery(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            try:
                return app(environ, start_response)
            except LedgerdError as error:
                if isinstance(error, Internal):
                    log.exception("request failed", extra={"fields": {"request_id": environ.get(REQUEST_ID)}})
                return render(environ, start_response, error)
            except Exception:
                log.exception("request failed", extra={"fields": {"request_id": environ.get(REQUEST_ID)}})
                return render(environ, start_response, Internal("Something went wrong here; the log has it under this id."))

        return with_recovery

    return layer
