"""Server reflection: what services and messages there are, for grpcurl and the like. It tells no more than the protos do."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator
from itertools import islice
from wsgiref.types import StartResponse, WSGIEnvironment

from grpc_reflection.v1alpha import reflection, reflection_pb2

from service.rpc.environ import OPEN_MESSAGE_S, SERVICER, next_message
from service.rpc.translation import parse

SERVICE: str = reflection.SERVICE_NAME
MOST_ASKED = 1_000  # questions in one call


class Reflection:
    """Tells of the services `names`."""

    def __init__(self, names: Collection[str]) -> None:
        self._servicer = reflection.ReflectionServicer(names)

    def tell(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The behaviour of ServerReflectionInfo: an answer to each question."""
        start_response("200 OK", [])
        return self._answers(environ)

    def _answers(self, environ: WSGIEnvironment) -> Generator[bytes, None, None]:
        asked = islice(_questions(environ), MOST_ASKED)
        for answer in self._servicer.ServerReflectionInfo(asked, environ[SERVICER]):
            yield answer.SerializeToString()


def _questions(environ: WSGIEnvironment) -> Iterator[reflection_pb2.ServerReflectionRequest]:
    while (message := next_message(environ, OPEN_MESSAGE_S)) is not None:
        question = parse(reflection_pb2.ServerReflectionRequest, message)
        assert isinstance(question, reflection_pb2.ServerReflectionRequest)
        yield question
