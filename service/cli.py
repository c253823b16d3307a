"""The `ledgerd` command. Results go to standard output, everything else to standard error; 0 is success, 2 a wrong call.

Each command imports what it needs when it runs: `ledgerd digest`, which often takes no longer than the imports of the server
would, stands on the standard library and the core alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from service import __version__
from service.commands.command import INTERRUPTED, WrongCall, add_command, let_output_go, printing, say
from service.commands.digest import add_digest_command
from service.errors import ConfigurationError, LedgerdError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_what_is_closed()
    try:
        return _run(given)
    except BrokenPipeError:  # whoever reads has seen enough
        let_output_go()
        return 1
    except ConfigurationError as error:
        for problem in error.problems:
            say(problem)
        return 2 if isinstance(error, WrongCall) else 1
    except LedgerdError as error:
        say(error.message)
        return 1
    except OSError as error:
        say(f"{error.filename or 'the command cannot go on'}: {error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


def _run(given: list[str]) -> int:
    with printing():  # --help
        options = _parser(called=given[0] if given else "").parse_args(given)
    status: int = options.run(options)
    with printing():  # what is not written yet
        return status


def _open_what_is_closed() -> None:
    """Give standard input and output, where the caller closed them, a descriptor that fails as a closed one does.

    Else the next file that is opened gets the number, and there is None instead of the stream. Standard error forgets.
    """
    for name, flags, mode in (("stdin", os.O_WRONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, flags)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, open(descriptor, mode))  # noqa: SIM115  # it stays until the process ends


def _serve(_options: argparse.Namespace) -> int:
    from service.config import Config
    from service.server.supervisor import serve

    return serve(Config.from_env(os.environ), os.environ, say)


def _web(_options: argparse.Namespace) -> int:
    # The same process goes on as another program: systemd's main process and sockets stay, and nothing that gevent has to
    # patch first has been imported there.
    os.execv(sys.executable, [sys.executable, "-m", "service.server"])  # noqa: S606  # nosec B606  # no shell is the point


def _migrate(_options: argparse.Namespace) -> int:
    from service.commands.database import database
    from service.config import Config
    from service.repository.migrate import migrate
    from service.repository.queries import sql_folder

    with database(Config.from_env(os.environ), makes=True) as url:
        steps = migrate(url, sql_folder(), say)
    say(f"{steps} steps taken; the database is current" if steps else "the database is current")
    return 0


def _postgres(_options: argparse.Namespace) -> int:
    from service.config import Config
    from service.server.database import run_postgres

    return run_postgres(Config.from_env(os.environ), say)


def _grpc(_options: argparse.Namespace) -> int:
    from service.config import Config
    from service.extras import grpc_problems
    from service.telemetry.otel import export_problems

    config = Config.from_env(os.environ)
    if problems := [*grpc_problems(), *export_problems(os.environ)]:
        raise ConfigurationError(*problems)
    from service.commands.grpc import run_grpc

    return run_grpc(config, os.environ, say)


def _check(options: argparse.Namespace) -> int:
    from service.doctor.command import check

    return check(os.environ, say, as_json=options.json)


def _dispatcher(_options: argparse.Namespace) -> int:
    from service.commands.dispatcher import run_dispatcher
    from service.config import Config

    return run_dispatcher(Config.from_env(os.environ), os.environ, say)


def _openapi(_options: argparse.Namespace) -> int:
    from service.api.openapi import document
    from service.config import Config
    from service.database import Database
    from service.resources import Resources
    from service.telemetry.facade import Telemetry

    config = Config(database_url="postgresql://")  # nothing is opened
    resources = Resources(config, Database(config), Telemetry(log_level=config.log_level, metrics=True), lambda: False)
    with printing():
        print(json.dumps(document(resources.routes), indent=2))
    return 0


def _parser(called: str) -> argparse.ArgumentParser:
    """Every command; where `called` is `digest`, without those that import more than it needs."""
    parser = argparse.ArgumentParser(
        prog="ledgerd",
        description="A ledger daemon: users, accounts and transfers over HTTP on PostgreSQL.",
        epilog="Settings come from the environment: `ledgerd check` shows them all; docs/operations.md explains each.",
    )
    parser.add_argument("--version", action="version", version=f"ledgerd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add_servers(commands)
    examining = add_command(
        commands,
        "check",
        _check,
        "Print the effective configuration, secrets masked, then examine it, the database and the host: each thing is ok, a"
        " warning or a problem, with what to do. Nothing is started or changed. Status 1 where there is a problem.",
    )
    examining.add_argument("--json", action="store_true", help="print JSON")
    add_command(
        commands, "openapi", _openapi, "Print the HTTP API as an OpenAPI 3.1 document, without a server or a database."
    )
    add_digest_command(commands)
    if called != "digest":
        from service.commands.call import add_call_command
        from service.commands.exports import add_export_command
        from service.commands.imports import add_import_command
        from service.commands.keys import add_key_commands
        from service.commands.ledgers import add_ledger_commands
        from service.commands.verify import add_verify_command

        add_key_commands(commands)
        add_ledger_commands(commands)
        add_import_command(commands)
        add_export_command(commands)
        add_verify_command(commands)
        add_call_command(commands)
    return parser


def _add_servers(commands: Any) -> None:
    """Those that run until they are told to stop, and what prepares the database for them."""
    add_command(
        commands,
        "serve",
        _serve,
        "Run everything: the embedded database when DATABASE_URL is unset, migrations, the web server, the delivery of"
        " webhooks (LEDGERD_DISPATCHER=off leaves it out), and gRPC where LEDGERD_GRPC_BIND is set. SIGTERM and SIGINT let"
        " requests in flight finish, a second one ends them.",
    )
    add_command(
        commands,
        "web",
        _web,
        "Run the web server alone in the foreground, on DATABASE_URL. It serves once `ledgerd migrate` has been run. It takes"
        " a socket of systemd (LISTEN_FDS), else it listens on LEDGERD_BIND; it tells systemd its state (Type=notify).",
    )
    add_command(
        commands,
        "dispatcher",
        _dispatcher,
        "Deliver webhooks in the foreground, on DATABASE_URL. Several may run, also on several hosts: each webhook is one's"
        " alone, and others take over what one that ends had. It tells systemd its state (Type=notify). SIGTERM and SIGINT let"
        " attempts under way finish.",
    )
    add_command(
        commands, "migrate", _migrate, "Bring the database up to date; safe to repeat, and for several processes at once."
    )
    add_command(
        commands,
        "postgres",
        _postgres,
        "Run the embedded PostgreSQL alone in the foreground, with room for two instances of the web server. It tells systemd"
        " its state (Type=notify), and writes PostgreSQL's log to standard error.",
    )
    add_command(
        commands,
        "grpc",
        _grpc,
        "Serve the same ledger over gRPC on LEDGERD_GRPC_BIND (127.0.0.1:8081), on the DATABASE_URL of the environment. Needs"
        " the extra `grpc`. SIGTERM and SIGINT let calls in flight finish.",
    )
