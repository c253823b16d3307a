"""`ledgerd key`: make, list, rotate and revoke API keys."""

from __future__ import annotations

import argparse
from typing import Any

from service.api.representation import show_key
from service.commands import arguments
from service.commands.command import add_command, positive, say
from service.commands.database import work
from service.commands.tables import print_rows, show_moment
from service.database import open_keys
from service.ledger.grants import GREATEST_KEY_BURST, Grant
from service.ledger.keys import DEFAULT_OVERLAP_S, ApiKey
from service.limits.bucket import MOST_RATE_PER_S
from service.repository.migrate import migrate
from service.repository.queries import sql_folder

_TIMES = ("created_at", "expires_at", "last_used_at", "revoked_at")
_COLUMNS = ("id", "ledger", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at", "replaced_by", "name")


def add_key_commands(commands: Any) -> None:
    """Add `key` with its actions."""
    text = "Make, list, rotate and revoke API keys."
    actions = commands.add_parser("key", help=text, description=text).add_subparsers(required=True, metavar="ACTION")
    create = add_command(actions, "create", _create, "Make an API key and print it; it is shown this once.")
    create.add_argument(
        "--ledger", required=True, type=arguments.ledger_name, help="the ledger it belongs to; made when there is none"
    )
    create.add_argument(
        "--scopes", required=True, type=arguments.scopes,
        help="what it may do, several with commas: read, write (with read), admin (with write and the ledger's keys),"
        " operator (every ledger and its keys, but none of its data), or single ones such as accounts:read",
    )
    create.add_argument("--name", default="", type=arguments.key_name, help="what it is for, shown in the list")
    create.add_argument(
        "--expires-in", type=arguments.lifetime, metavar="TIME", help="when it ends: 90s, 15m, 24h, 30d; without it, never"
    )
    create.add_argument(
        "--debit", type=arguments.account_ids, metavar="IDS", help="the only accounts that it may debit, with commas: 12,15"
    )
    create.add_argument(
        "--rate", type=positive(MOST_RATE_PER_S), metavar="N", help="requests a second, instead of the server's"
    )
    create.add_argument(
        "--burst", type=positive(GREATEST_KEY_BURST), metavar="N", help="requests at once, instead of the server's"
    )
    listing = add_command(actions, "list", _list, "List every key, without its secret.")
    listing.add_argument("--ledger", type=arguments.ledger_name, help="those of this ledger only")
    listing.add_argument("--json", action="store_true", help="print JSON, with everything that a key is given")
    rotate = add_command(
        actions, "rotate", _rotate,
        "Make a key that is given the same, and print it. The old one goes on for a while, so that both are valid while its"
        " users change over.",
    )
    rotate.add_argument("id", type=arguments.key_id, help="the id of the old key, as `ledgerd key list` shows it")
    rotate.add_argument(
        "--overlap", type=arguments.overlap, default=DEFAULT_OVERLAP_S, metavar="TIME",
        help="how long the old key goes on, at most 30d; 0s ends it at once (default: 24h)",
    )
    revoke = add_command(actions, "revoke", _revoke, "Make a key invalid, for ever.")
    revoke.add_argument("id", type=arguments.key_id, help="its id, as `ledgerd key list` shows it")


def _create(options: argparse.Namespace) -> int:
    grant = Grant(
        scopes=options.scopes, name=options.name, debit_accounts=options.debit, rate_per_s=options.rate, burst=options.burst
    )
    with work(makes=True) as (ctx, url):
        migrate(url, sql_folder(), lambda _: None)
        with open_keys(url) as keys:
            made = keys.create(ctx, grant, ledger=options.ledger, lifetime_s=options.expires_in)
    if made.made_ledger:
        say(f"made the ledger {options.ledger!r}")
    print(made.token)
    return 0


def _list(options: argparse.Namespace) -> int:
    with work() as (ctx, url), open_keys(url) as keys:
        found = keys.list_all(ctx, options.ledger)
    print_rows([show_key(key) if options.json else _row(key) for key in found], _COLUMNS, as_json=options.json)
    return 0


def _rotate(options: argparse.Namespace) -> int:
    with work() as (ctx, url), open_keys(url) as keys:
        made = keys.rotate(ctx, options.id, overlap_s=options.overlap)
        old = keys.find(ctx, options.id)
    say(f"{old.id} is followed by {made.key.id}, and ends at {show_moment(old.expires_at)}")
    print(made.token)
    return 0


def _revoke(options: argparse.Namespace) -> int:
    with work() as (ctx, url), open_keys(url) as keys:
        keys.revoke(ctx, options.id)
    say(f"revoked {options.id}; every worker refuses it within a second")
    return 0


def _row(key: ApiKey) -> dict[str, Any]:
    """For a reader: times to the second."""
    return {**show_key(key), **{name: show_moment(getattr(key, name)) for name in _TIMES}}
