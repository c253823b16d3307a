"""/api/services: where the instances of services are. They register themselves, and stay for as long as they renew it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from service.api.answers import InstanceAnswer, InstancePage, ServicePage
from service.api.body import read_object
from service.api.calls import Answer, Call, page
from service.api.cursors import Cursors
from service.api.fields import whole
from service.api.parameters import PAGE
from service.api.representation import show_instance, show_service
from service.api.routes import Header, Parameter, Route
from service.api.schemas import InstanceInput, load
from service.errors import FieldError, InvalidInput
from service.events.registry import (
    HOST_SERVICE,
    INSTANCE_ID,
    INSTANCE_ID_SHAPE,
    SERVICE_NAME,
    SERVICE_NAME_SHAPE,
    Registration,
    Registry,
)

_SERVICE = Parameter("service", "the name of a service", {"type": "string", "pattern": whole(SERVICE_NAME)})
_INSTANCE = Parameter("instance_id", "its id, its own choice", {"type": "string", "pattern": whole(INSTANCE_ID)})
_BOTH = (_SERVICE, _INSTANCE)
_NOT_OF_HOST = f"^(?!{HOST_SERVICE}(?:-|$)){whole(SERVICE_NAME)[1:]}"  # as `is_of_host` has it
_OWN = Parameter("service", "its name, none of ledgerd's own", {"type": "string", "pattern": _NOT_OF_HOST})
_WRITTEN = (_OWN, _INSTANCE)
_ONE = "/api/services/<service>/instances/<instance_id>"


class ServiceHandlers:
    """The handlers, with what they need."""

    def __init__(self, registry: Registry, cursors: Cursors) -> None:
        self._registry = registry
        self._cursors = cursors
        self._input = InstanceInput()

    def routes(self) -> Iterable[Route]:
        """The routes."""
        yield Route(
            method="GET", path="/api/services", handler=self.list, scope="services:read",
            summary="A page of services that have instances, by the oldest of these; ledgerd itself is one", query=PAGE,
            answers={200: ServicePage()},
        )
        yield Route(
            method="GET", path="/api/services/<service>", handler=self.instances, scope="services:read", variables=(_SERVICE,),
            summary="A page of a service's instances in the order of registration; of a name that nobody has it is empty",
            query=PAGE, answers={200: InstancePage()},
        )
        yield Route(
            method="PUT", path=_ONE, handler=self.register, scope="services:write", variables=_WRITTEN,
            summary="Register an instance for the time of its lease, or renew it", body=self._input,
            answers={200: InstanceAnswer(), 201: InstanceAnswer()},
            answer_headers={"Location": Header("the path of what was made", only=201)},
            errors=("limit_exceeded",),
        )
        yield Route(
            method="GET", path=_ONE, handler=self.find, scope="services:read", variables=_BOTH,
            summary="One instance", answers={200: InstanceAnswer()}, errors=("not_found",),
        )
        yield Route(
            method="DELETE", path=_ONE, handler=self.deregister, scope="services:write", variables=_WRITTEN,
            summary="End an instance's lease now", answers={204: None}, errors=("not_found",),
        )
        yield Route(
            method="POST", path=f"{_ONE}/heartbeat", handler=self.heartbeat, scope="services:write", variables=_WRITTEN,
            summary="Renew an instance's lease for as long again; 404 when it has ended", answers={200: InstanceAnswer()},
            errors=("not_found",),
        )

    def list(self, call: Call) -> Answer:
        """A page of services."""
        asked, _ = page(call, self._cursors, "services")
        rows = self._registry.list_services(call.ctx, call.ledger_id, after=asked.position or 0, limit=asked.limit + 1)
        return asked.answer(call.ctx, self._cursors, rows, show_service, lambda service: service.first)

    def instances(self, call: Call, service: str) -> Answer:
        """A page of instances."""
        asked, _ = page(call, self._cursors, f"instances of {_name(service)}")
        rows = self._registry.list(call.ctx, call.ledger_id, service, after=asked.position or 0, limit=asked.limit + 1)
        return asked.answer(call.ctx, self._cursors, rows, show_instance, lambda instance: instance.number)

    def register(self, call: Call, service: str, instance_id: str) -> Answer:
        """201 with the instance and where it is, 200 when it was there before."""
        names = _name(service), _id(instance_id)
        instance, is_new = self._registry.register(
            call.ctx, call.ledger_id, Registration(*names, **load(self._input, read_object(call.environ)))
        )
        if not is_new:
            return Answer(show_instance(instance))
        return Answer(show_instance(instance), 201, Location=f"/api/services/{service}/instances/{instance_id}")

    def find(self, call: Call, service: str, instance_id: str) -> Answer:
        """One instance."""
        return Answer(show_instance(self._registry.find(call.ctx, call.ledger_id, _name(service), _id(instance_id))))

    def deregister(self, call: Call, service: str, instance_id: str) -> Answer:
        """204."""
        self._registry.deregister(call.ctx, call.ledger_id, _name(service), _id(instance_id))
        return Answer(None, 204)

    def heartbeat(self, call: Call, service: str, instance_id: str) -> Answer:
        """The instance with its new lease."""
        renewed = self._registry.heartbeat(call.ctx, call.ledger_id, _name(service), _id(instance_id))
        return Answer(show_instance(renewed))


def _name(text: str) -> str:
    return _checked("service", text, SERVICE_NAME, SERVICE_NAME_SHAPE)


def _id(text: str) -> str:
    return _checked("instance_id", text, INSTANCE_ID, INSTANCE_ID_SHAPE)


def _checked(field: str, text: str, pattern: re.Pattern[str], shape: str) -> str:
    """A name that clients choose, out of a path. Raises InvalidInput for what cannot be one."""
    if pattern.fullmatch(text):
        return text
    raise InvalidInput("A part of the path is not acceptable.", fields=(FieldError(field, f"expected {shape}"),))
