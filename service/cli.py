"""The `ledgerd` command. Results go to standard output, everything else to standard error; 0 is success, 2 a wrong call."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from service import __version__
from service.app import open_keys
from service.concurrency.context import background, with_timeout
from service.config import Config
from service.doctor.command import check
from service.errors import ConfigurationError, LedgerdError
from service.ledger.scopes import GRANTABLE
from service.repository.migrate import migrate
from service.repository.queries import sql_folder
from service.server.database import run_postgres
from service.server.supervisor import embedded, serve

_LEDGER = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ConfigurationError as error:
        for problem in error.problems:
            _say(problem)
        return 1
    except LedgerdError as error:
        _say(error.message)
        return 1
    return status


def _say(text: str) -> None:
    print(f"ledgerd: {text}", file=sys.stderr, flush=True)


def _serve(_options: argparse.Namespace) -> int:
    return serve(Config.from_env(os.environ), os.environ, _say)


def _web(_options: argparse.Namespace) -> int:
    # The same process goes on as another program: systemd's main process and sockets stay, and nothing that gevent has to
    # patch first has been imported there.
    os.execv(sys.executable, [sys.executable, "-m", "service.server"])  # noqa: S606  # nosec B606  # no shell is the point


def _migrate(_options: argparse.Namespace) -> int:
    with _database(Config.from_env(os.environ)) as url:
        steps = migrate(url, sql_folder(), _say)
    _say(f"{steps} steps taken; the database is current" if steps else "the database is current")
    return 0


def _postgres(_options: argparse.Namespace) -> int:
    return run_postgres(Config.from_env(os.environ), _say)


def _check(options: argparse.Namespace) -> int:
    return check(os.environ, _say, as_json=options.json)


def _key_create(options: argparse.Namespace) -> int:
    config = Config.from_env(os.environ)
    with _database(config) as url:
        migrate(url, sql_folder(), lambda _: None)
        with open_keys(url) as keys, with_timeout(background(), config.timeout_s) as ctx:
            token, made = keys.create(ctx, ledger=options.ledger, scopes=options.scopes, name=options.name)
    if made:
        _say(f"made the ledger {options.ledger!r}")
    print(token)
    return 0


def _key_list(options: argparse.Namespace) -> int:
    config = Config.from_env(os.environ)
    with _database(config) as url, open_keys(url) as keys, with_timeout(background(), config.timeout_s) as ctx:
        found = keys.list(ctx)
    rows = [
        {
            "id": key.id,
            "ledger": key.ledger,
            "scopes": list(key.scopes),
            "name": key.name,
            "created_at": key.created_at.isoformat(timespec="seconds"),
            "revoked_at": key.revoked_at.isoformat(timespec="seconds") if key.revoked_at else None,
        }
        for key in found
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(f"{'ID':12}  {'LEDGER':16}  {'SCOPES':16}  {'CREATED':25}  {'REVOKED':25}  NAME")
    for row in rows:
        scopes, revoked = ",".join(row["scopes"] or []), row["revoked_at"] or "-"
        print(f"{row['id']:12}  {row['ledger']:16}  {scopes:16}  {row['created_at']:25}  {revoked:25}  {row['name']}")
    return 0


def _key_revoke(options: argparse.Namespace) -> int:
    config = Config.from_env(os.environ)
    with _database(config) as url, open_keys(url) as keys, with_timeout(background(), config.timeout_s) as ctx:
        keys.revoke(ctx, options.id)
    _say(f"revoked {options.id}; every worker refuses it within a second")
    return 0


@contextmanager
def _database(config: Config) -> Iterator[str]:
    """The address of the database; the embedded one is started for the block unless a `ledgerd serve` runs it already."""
    if config.database_url is not None:
        yield config.database_url
        return
    postgres = embedded(config)
    if postgres.is_running():
        yield postgres.url
        return
    postgres.start(_say)
    try:
        yield postgres.url
    finally:
        postgres.stop()


def _scopes(text: str) -> list[str]:
    scopes = text.split(",")
    if unknown := [scope for scope in scopes if scope not in GRANTABLE]:
        raise argparse.ArgumentTypeError(f"unknown scope {unknown[0]!r}; choose from {', '.join(GRANTABLE)}")
    return scopes


def _ledger(text: str) -> str:
    if _LEDGER.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit")
    return text


def _key_id(text: str) -> str:
    """The id, also out of a whole token, so that a key can be revoked by pasting it."""
    return text.split("_")[1] if text.startswith("ldg_") and text.count("_") == 2 else text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ledgerd",
        description="A ledger daemon: users, accounts and transfers over HTTP on PostgreSQL.",
        epilog="Settings come from the environment: `ledgerd check` shows them all; docs/operations.md explains each.",
    )
    parser.add_argument("--version", action="version", version=f"ledgerd {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str, under: Any = commands) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = under.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    command("serve", _serve, "Run everything: the embedded database when DATABASE_URL is unset, migrations, the web server.")
    command(
        "web",
        _web,
        "Run the web server alone in the foreground, on DATABASE_URL. It serves once `ledgerd migrate` has been run. It takes"
        " a socket of systemd (LISTEN_FDS), else it listens on LEDGERD_BIND; it tells systemd its state (Type=notify).",
    )
    command("migrate", _migrate, "Bring the database up to date; safe to repeat, and for several processes at once.")
    command(
        "postgres",
        _postgres,
        "Run the embedded PostgreSQL alone in the foreground, with room for two instances of the web server. It tells systemd"
        " its state (Type=notify), and writes PostgreSQL's log to standard error.",
    )
    examining = command(
        "check",
        _check,
        "Print the effective configuration, secrets masked, then examine it, the database and the host: each thing is ok, a"
        " warning or a problem, with what to do. Nothing is started or changed. Status 1 where there is a problem.",
    )
    examining.add_argument("--json", action="store_true", help="print JSON")
    keys = commands.add_parser("key", help="Make, list and revoke API keys.").add_subparsers(required=True, metavar="ACTION")
    create = command("create", _key_create, "Make an API key and print it; it is shown this once.", keys)
    create.add_argument("--ledger", required=True, type=_ledger, help="the ledger it belongs to; made when there is none")
    create.add_argument("--scopes", required=True, type=_scopes, help="read, write, admin; several with commas")
    create.add_argument("--name", default="", help="what it is for, shown in the list")
    listing = command("list", _key_list, "List every key, without its secret.", keys)
    listing.add_argument("--json", action="store_true", help="print JSON")
    revoke = command("revoke", _key_revoke, "Make a key invalid, for ever.", keys)
    revoke.add_argument("id", type=_key_id, help="its id, as `ledgerd key list` shows it")
    return parser
