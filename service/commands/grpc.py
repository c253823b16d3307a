"""`ledgerd grpc`: the ledger over gRPC, as a process of its own, until a signal. The composition root of that process.

It is the application that the web server has, on threads instead of greenlets: grpc brings native threads along, which gevent
must not patch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from functools import partial

from service.api.positions import Positions
from service.app import Application
from service.concurrency.context import background
from service.concurrency.primitives import monotonic
from service.concurrency.spawn import Tasks
from service.config import Config
from service.errors import LedgerdError
from service.events.registry import HOST_SERVICE
from service.limits.folder import make_run_folder
from service.rpc.events import EventStream
from service.rpc.interceptors import intercepted
from service.rpc.server import GrpcServer
from service.server.exit_status import ExitStatus
from service.server.notify import Notifier
from service.server.probes import Probes
from service.server.signals import Signals
from service.telemetry.logging import configure_logging

log = logging.getLogger("ledgerd.grpc")

DEFAULT_BIND = "127.0.0.1:8081"
SERVICE = f"{HOST_SERVICE}-grpc"  # in the registry
READY = "ready"
LOOK_S = 1.0  # between two looks at whether the ledger can serve: far below WatchdogSec= in the unit
CHECK_S = 2.0
CLOSE_S = 1.0  # for the end of tasks and pools where no time is left


def run_grpc(config: Config, env: MutableMapping[str, str], say: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; the ExitStatus. Raises ConfigurationError when it cannot start."""
    configure_logging(config.log_level)
    systemd = Notifier.take_from(env)
    make_run_folder(config.run_dir)
    signals, tasks, end = Signals(), Tasks(background()), 0.0
    application = Application(config).open()
    try:
        if config.grpc_metrics_bind is not None:
            tasks.spawn("probes", Probes(application, config.grpc_metrics_bind).run)
        server = make_server(application, config)
        host, port = (config.grpc_bind or DEFAULT_BIND).rpartition(":")[0], server.start()
        say(f"gRPC is served on {host}:{port}")
        bound = host.strip("[]"), port
        announce = partial(application.announce, bound, service=SERVICE, advertise=config.grpc_advertise)
        _watch(application, server, announce, systemd, signals)
        say("stopping: calls in flight are finished (once more Ctrl-C or SIGTERM stops at once)")
        end = monotonic() + config.shutdown_timeout_s
        systemd.send(STOPPING=1, STATUS="stopping")
        application.drain()
        whole = server.stop(config.shutdown_timeout_s, hurry=lambda: signals.hurry)
    finally:
        left = tasks.stop(CLOSE_S) + application.close(max(end - monotonic(), CLOSE_S))
    if left:
        log.error("did not end in time: %s", ", ".join(left))
    return ExitStatus.STOPPED if whole and not left else ExitStatus.CUT


def make_server(application: Application, config: Config) -> GrpcServer:
    """The server of `application`, not started."""
    telemetry, resources = application.telemetry, application.resources
    intercept = partial(
        intercepted,
        authenticate=resources.authenticator.authenticate,
        positions=Positions(resources.cursors),
        trusted_proxies=config.trusted_proxies,
        take_key=application.take_of_key,
        address_buckets=application.limiter,
        on_refusal=telemetry.metrics.limiter_refused,
        sample=telemetry.sample,
        began=telemetry.metrics.request_began,
        ended=telemetry.observers(),
    )
    return GrpcServer(
        application.routes, intercept, bind=config.grpc_bind or DEFAULT_BIND, threads=config.grpc_threads,
        streams=config.grpc_streams, longest_s=config.timeout_s,
        events=EventStream(resources.listening),
    )


def _watch(
    application: Application, server: GrpcServer, announce: Callable[[], object], systemd: Notifier, signals: Signals
) -> None:
    """Tell health, the registry and systemd whether the ledger can serve, until a signal comes."""
    told = ""
    while not signals.came:
        try:
            application.check(CHECK_S)
            state = READY
        except LedgerdError as error:
            state = error.message
        server.health.set(state == READY)
        systemd.send(WATCHDOG=1)
        if state != told:
            log.info("the ledger: %s", state)
            systemd.send(STATUS=state, **({"READY": 1} if state == READY else {}))
            if state == READY:
                announce()
            told = state
        signals.sleep(LOOK_S)

