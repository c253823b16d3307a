"""gunicorn's arbiter, which tells systemd the truth and never gives up workers that serve.

What differs from gunicorn's: systemd hears of us when workers are ready and not before; a worker that does not come up is
ended and replaced, with growing pauses; a reload ends the old workers when the new ones are up, and only then; a stop follows
docs/operations.md ("How it stops"). The loop, signals and silent workers are gunicorn's own.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from service.errors import ConfigurationError
from service.server.crew import Crew, Member
from service.server.exit_status import ExitStatus
from service.server.listener import let_nobody_in
from service.server.notify import Notifier
from service.server.reload import Reload
from service.server.reports import ReportPipe
from service.server.status import Status

log = logging.getLogger("ledgerd.server")

TURN_S = 1.0  # the loop turns at least so often
ABORT_S = 2.0  # between SIGABRT and SIGKILL for a worker that did not come up
RELOAD_SPARE_S = 10.0  # above the time to come up, for new workers that not even SIGKILL ends
DEAF_S = 1.0  # between SIGTERM and SIGKILL for a worker that was not up
TWICE_S = 2.0  # a second signal within this time is the first: systemd may tell every process, and a supervisor this one again
HARD_STOP_S = 2.0  # after the deadline, for workers to say what they cut


class LedgerArbiter(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """See the module. `app` is a service.server.gunicorn.Server."""

    LISTENERS: list[Any]

    def __init__(self, app: Any) -> None:
        notifier = Notifier.take_from(os.environ)  # first: gunicorn would say READY=1 before there is a worker
        self._status = Status(notifier)
        self._reports = ReportPipe()
        self._wake, self._wake_write = os.pipe()
        self._crew = Crew(app.config.boot_timeout_s)
        self._reload: Reload | None = None
        self._reload_wanted = self._hard = self._cut = False
        super().__init__(app)

    def setup(self, app: Any) -> None:
        """gunicorn's, and our hooks around the fork."""
        super().setup(app)
        self._hooks = self.cfg.pre_fork, self.cfg.post_fork
        self.cfg.set("pre_fork", self._before_fork)
        self.cfg.set("post_fork", self._in_worker)

    def start(self) -> None:
        """gunicorn's: signals and listeners."""
        self._status.starting(self.app.config.boot_timeout_s)
        super().start()
        os.environ.pop("LISTEN_FDNAMES", None)  # gunicorn takes the two others

    def init_signals(self) -> None:
        """gunicorn's, and a pipe by which signals end the wait of the loop."""
        for end in (self._wake, self._wake_write):
            os.set_blocking(end, False)
        super().init_signals()
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    # Signals

    def wait_for_signals(self, timeout: float = TURN_S) -> list[int]:
        """The signals that came, after waiting for one, or for a report, up to `timeout` seconds."""
        longest = min(timeout, TURN_S, self._status.interval_s)
        if self._wake in select.select([self._wake, self._reports.fileno()], [], [], longest)[0]:
            os.read(self._wake, 4096)
        self._take_reports()
        return list(super().wait_for_signals(timeout=0))

    def handle_hup(self) -> None:
        """Reload at the next turn; one that comes during a reload is done after it."""
        self._reload_wanted = True

    def handle_int(self) -> None:
        """Ctrl-C is as good as SIGTERM."""
        self.handle_term()

    def handle_quit(self) -> None:
        """Stop at once."""
        self._hard = True
        raise StopIteration

    def handle_usr2(self) -> None:
        """gunicorn's second arbiter would be no process that systemd knows."""
        log.warning("SIGUSR2 does nothing: for a new version start it beside this one, on the same socket, then stop this one")

    # Workers

    def _before_fork(self, _arbiter: Any, worker: Any) -> None:
        self._hooks[0](self, worker)
        worker.reports = self._reports
        worker.owns_listener = not self.systemd
        worker.waits_until_ready = self._reload is not None or not self._crew.was_up

    def _in_worker(self, _arbiter: Any, worker: Any) -> None:
        self._hooks[1](self, worker)
        signal.set_wakeup_fd(-1)
        for end in (self._wake, self._wake_write):
            os.close(end)
        self._reports.leave_to_worker()

    def _start_workers(self, number: int) -> None:
        for _ in range(number):
            try:
                self._crew.add(self.spawn_worker(), time.monotonic())
            except OSError as error:  # no process, no descriptor or no space for another one
                log.error("a worker cannot be started: %s", error)
                self._crew.fail(time.monotonic())

    def _take_reports(self) -> None:
        for report in self._reports.read():
            member = self._crew.members.get(report.pid)
            if member is None:
                continue
            if report.state == "up":
                self._crew.up(report.pid)
                if member.ends_since is not None:
                    self.kill_worker(report.pid, signal.SIGTERM)  # it may have been too young to hear the first one
            else:
                member.said = report.reason
            if report.state == "waiting":
                log.warning("worker %d waits: %s", report.pid, report.reason)

    def reap_workers(self) -> None:
        """Take note of every process that has ended. Raises HaltServer when nobody serves and starting is hopeless."""
        self._take_reports()  # what it told last comes before its end
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (worker := self.WORKERS.pop(pid, None)) is None:
                continue  # not ours, where we are process 1 and inherit orphans
            worker.tmp.close()
            self.cfg.child_exit(self, worker)
            self._note_end(self._crew.remove(pid, time.monotonic()), os.waitstatus_to_exitcode(status))

    def _note_end(self, member: Member | None, status: int) -> None:
        if member is None:
            return
        how = f"signal {-status}, {signal.strsignal(-status)}" if status < 0 else f"status {status}"
        if member.ends_since is not None:
            self._cut = self._cut or (member.up and status != 0)
            return
        if member.up and status == 0:
            log.info("worker %d ended, as it was told by somebody else", member.pid)
        elif member.up:
            log.error("worker %d ended by itself with %s; what it had in flight is lost", member.pid, how)
        else:
            log.error("worker %d did not come up (%s): %s", member.pid, how, member.said)
        if self._reload is not None and member.generation == self._crew.generation:
            self._fail_reload(f"a new worker ended with {how}" if member.up else member.said)
        elif self._crew.hopeless:
            raise HaltServer(f"no worker comes up: {member.said}", ExitStatus.NO_WORKER)

    def murder_workers(self) -> None:
        """gunicorn's, for the silent ones; then those that did not come up in time, and those that do not end."""
        super().murder_workers()
        now = time.monotonic()
        for member in self._crew.late(now):
            if not self.WORKERS[member.pid].aborted:
                self.WORKERS[member.pid].aborted = True
                log.error("worker %d is not up after %g s: %s", member.pid, self._crew.boot_timeout_s, member.said)
                self.kill_worker(member.pid, signal.SIGABRT)
            elif now - member.started_at > self._crew.boot_timeout_s + ABORT_S:
                self.kill_worker(member.pid, signal.SIGKILL)
        self._kill_overdue(now)

    def manage_workers(self) -> None:
        """Once a turn: go on with a reload, start what is missing, end what is too many, and tell systemd."""
        if self._reload is not None:
            self._go_on_with_reload(self._reload)
        elif self._reload_wanted:
            self._begin_reload()
        if self._reload is None:
            self._start_workers(self._crew.missing(self.num_workers, time.monotonic()))
            self._end(self._crew.staying[: max(len(self._crew.staying) - self.num_workers, 0)])
        self._tell()

    def _end(self, members: list[Member]) -> None:
        for member in members:
            member.ends_since = time.monotonic()
            self.kill_worker(member.pid, signal.SIGTERM)

    def _kill_overdue(self, now: float) -> None:
        """Those that do not end; soon where they were not up: nothing is lost, and they may be too young to hear SIGTERM."""
        for member in self._crew.members.values():
            limit_s = self.cfg.graceful_timeout + HARD_STOP_S if member.up else DEAF_S
            if member.ends_since is not None and now - member.ends_since > limit_s:
                self.kill_worker(member.pid, signal.SIGKILL)

    # Reload

    def _newcomers(self) -> list[Member]:
        return [member for member in self._crew.staying if member.generation == self._crew.generation]

    def _begin_reload(self) -> None:
        self._reload_wanted = False
        self._reload = Reload(self.app.config, self.num_workers)
        self._status.reloading(self.app.config.boot_timeout_s)
        log.info("reload: starting %d new workers", self.num_workers)
        self._crew.generation += 1
        try:
            self.app.read_again()
        except ConfigurationError as error:
            self._fail_reload("; ".join(error.problems))
            return
        self._start_workers(self.num_workers)
        if len(self._newcomers()) < self.num_workers:
            self._fail_reload("a worker cannot be started")

    def _go_on_with_reload(self, reload: Reload) -> None:
        if sum(member.up for member in self._newcomers()) >= reload.wanted:
            self._reload = None
            self._status.reload_failure = ""
            log.info("reload: the new workers are up after %.1f s; the old ones end", reload.age_s)
            self._end([member for member in self._crew.staying if member.generation < self._crew.generation])
        elif reload.age_s > self._crew.boot_timeout_s + RELOAD_SPARE_S:
            self._fail_reload("new workers neither come up nor end")

    def _fail_reload(self, reason: str) -> None:
        assert self._reload is not None
        self.app.config, self._reload = self._reload.config_before, None
        self._status.reload_failure = reason
        log.error("the reload failed, the workers of before serve on: %s", reason)
        self._end(self._newcomers())
        self._crew.failures = 0

    # What systemd hears

    def _tell(self) -> None:
        now = time.monotonic()
        alive = any(
            now - self.WORKERS[pid].tmp.last_update() <= self._status.fresh_s
            for pid, member in self._crew.members.items()
            if member.up and pid in self.WORKERS
        )
        self._status.tell(self._crew, self.num_workers, reloading=self._reload is not None, alive=alive)

    # The stop

    def stop(self, graceful: bool = True) -> None:
        """Steps 1 to 5 of "How it stops" in docs/operations.md."""
        hard, now = self._hard or not graceful, time.monotonic()
        began, self._cut, self._reload = now, False, None
        self._status.stopping(self.cfg.graceful_timeout + 2 * HARD_STOP_S)
        for listener in self.LISTENERS:
            if not self.systemd:
                _keep_out(listener.sock)
            listener.close()
        self.LISTENERS = []
        self._end(self._crew.staying)
        while self.WORKERS and not hard:
            signals, now = self.wait_for_signals(), time.monotonic()
            again = signal.SIGQUIT in signals or (now - began > TWICE_S and {signal.SIGTERM, signal.SIGINT} & {*signals})
            hard = bool(again) or now - began > self.cfg.graceful_timeout + HARD_STOP_S
            self._kill_overdue(now)
            self.reap_workers()
            self._tell()
        if self.WORKERS:
            log.error("stopping at once: %d workers are killed", len(self.WORKERS))
            self._cut = True
            self.kill_workers(signal.SIGKILL)
        while self.WORKERS:
            self.wait_for_signals()
            self.reap_workers()

    def halt(self, reason: str | None = None, exit_status: int = 0) -> NoReturn:
        """Stop, and end this process with an ExitStatus."""
        self.stop()
        if reason is not None:
            log.error("ended: %s", reason)
        self.cfg.on_exit(self)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # else one that comes while the interpreter ends would be the exit status
        sys.exit(exit_status or (ExitStatus.CUT if self._cut else ExitStatus.STOPPED))


def _keep_out(listener: Any) -> None:
    try:
        let_nobody_in(listener)
    except OSError as error:
        log.warning("connections that come in now may be reset: %s", os.strerror(error.errno or errno.EINVAL))
