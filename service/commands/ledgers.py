"""`ledgerd ledger`: make and list ledgers."""

from __future__ import annotations

import argparse
from typing import Any

from service.api.representation import show_ledger
from service.commands import arguments
from service.commands.command import add_command, say
from service.commands.database import work
from service.commands.tables import print_rows, show_moment
from service.database import open_ledgers
from service.ledger.ledgers import Ledger
from service.repository.migrate import migrate
from service.repository.queries import sql_folder

_PAGE = 1000


def add_ledger_commands(commands: Any) -> None:
    """Add `ledger` with its actions."""
    text = "Make and list ledgers: each holds users, accounts and transfers of its own."
    actions = commands.add_parser("ledger", help=text, description=text).add_subparsers(required=True, metavar="ACTION")
    create = add_command(actions, "create", _create, "Make a ledger and print its id.")
    create.add_argument("name", type=arguments.ledger_name, help="its name, which stays")
    listing = add_command(actions, "list", _list, "List every ledger.")
    listing.add_argument("--json", action="store_true", help="print JSON")


def _create(options: argparse.Namespace) -> int:
    with work(makes=True) as (ctx, url):
        migrate(url, sql_folder(), lambda _: None)
        with open_ledgers(url) as ledgers:
            ledger = ledgers.create(ctx, options.name)
    say(f"made the ledger {ledger.name!r}; make a key for it with `ledgerd key create --ledger {ledger.name} --scopes …`")
    print(ledger.id)
    return 0


def _list(options: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = []
    with work() as (ctx, url), open_ledgers(url) as ledgers:
        while page := ledgers.list(ctx, after_id=rows[-1]["id"] if rows else 0, limit=_PAGE):
            rows += [show_ledger(each) if options.json else _row(each) for each in page]
    print_rows(rows, ("id", "name", "created_at"), as_json=options.json)
    return 0


def _row(ledger: Ledger) -> dict[str, Any]:
    """For a reader: the time to the second."""
    return {**show_ledger(ledger), "created_at": show_moment(ledger.created_at)}
