"""`ledgerd call`: a request to the HTTP API, by the client, so that a script gets its deadline and its safe repetition."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from service.api.body import STRICT, telling_what_is_wrong
from service.client import Client, Reply
from service.client.repetition import NOTHING_DONE
from service.client.request import new_key, takes_key
from service.commands.arguments import header, timeout
from service.commands.command import add_command, let_output_go, printing, say
from service.concurrency.context import background
from service.errors import ConfigurationError, InvalidInput, LedgerdError, MalformedRequest, OutcomeUnknown

SERVER = "http://127.0.0.1:8080"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_REFUSED, _WRONG_CALL, _LATER, _UNKNOWN, _INTERRUPTED = 1, 2, 3, 4, 130
_MOST_BODY = 64 << 20  # bytes; the server's own bounds are lower

_SHORT = "Send a request to the HTTP API of a ledgerd that runs, and print the answer."
_TEXT = f"""\
{_SHORT} docs/api.md lists the routes. It waits at most
--timeout, repeats what may be repeated and nothing else, and goes on with another server where one fails.

The API key is read from LEDGERD_KEY or from --key-file, never from the command line, which others on the host can see."""

_MORE = f"""\
examples:
  export LEDGERD_KEY=$(cat var/admin.key)
  ledgerd call GET /api/accounts/12
  ledgerd call GET '/api/transfers?account_id=12' --pages | jq .amount
  ledgerd call POST /api/accounts '{{"asset": "USD/2"}}'
  ledgerd call POST /api/transfers @transfer.json --idempotency-key order-1001
  ledgerd call PATCH /api/accounts/12 '{{"status": "frozen"}}' --header 'If-Match: "3"'

A POST below /api/transfers has an idempotency key in any case: without --idempotency-key one is made, and told where the
outcome is not known. Send the request again with that key, and it takes effect once.

status:
  {_REFUSED}  refused: the answer is an error
  {_WRONG_CALL}  a wrong call: nothing was sent
  {_LATER}  nothing was done, but may be later: too busy, not reached, out of time
  {_UNKNOWN}  unknown: it may have taken effect, or not"""


def add_call_command(commands: Any) -> None:
    """Add `call`."""
    call = add_command(commands, "call", _call, _SHORT)
    call.description, call.epilog, call.formatter_class = _TEXT, _MORE, argparse.RawDescriptionHelpFormatter
    call.add_argument("method", choices=METHODS, type=str.upper, metavar="METHOD", help=", ".join(METHODS))
    call.add_argument("path", metavar="PATH", help="such as /api/accounts/12, with its query")
    call.add_argument("body", metavar="JSON", nargs="?", help="the body; @FILE reads it from a file, - from standard input")
    call.add_argument(
        "--server", action="append", metavar="URL",
        help=f"where ledgerd is; several are asked in turn (LEDGERD_SERVER, with commas, or {SERVER})",
    )
    call.add_argument("--key-file", type=Path, metavar="FILE", help="a file with the API key, instead of LEDGERD_KEY")
    call.add_argument("--idempotency-key", metavar="KEY", help="the key under which a transfer takes effect once")
    call.add_argument("--header", action="append", default=[], type=header, metavar="'NAME: VALUE'", help="may be repeated")
    call.add_argument("--timeout", default=30, type=timeout, metavar="TIME", help="for all attempts: 5s, 2m (default: 30s)")
    call.add_argument("--pages", action="store_true", help="every element of a list, page after page, one a line")
    call.add_argument("--include", action="store_true", help="print the status and the headers before the answer")


def _call(options: argparse.Namespace) -> int:
    key = options.idempotency_key
    if key is None and takes_key(options.method, options.path):
        key = new_key()
    try:
        with _client(options) as client:
            if options.pages:
                _print_pages(client, options)
            else:
                body, headers = _body(options.body), dict(options.header)
                reply = client.call(
                    background(), options.method, options.path, body, headers=headers, idempotency_key=key
                )
                try:
                    with printing():
                        _print(reply, include=options.include)
                except (ConfigurationError, BrokenPipeError):
                    if options.method == "GET":
                        raise
                    let_output_go()
                    say(f"it was answered with {reply.status}, but standard output cannot be written")
                    return _UNKNOWN
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:
        say(str(error))
        return _WRONG_CALL
    except LedgerdError as error:
        return _failed(error)
    except KeyboardInterrupt:
        changes = options.method != "GET"
        again = f": send it again with --idempotency-key {key}" if key else ""
        say(f"interrupted; it may have taken effect, or not{again}" if changes else "interrupted")
        return _INTERRUPTED
    return 0


def _client(options: argparse.Namespace) -> Client:
    """Raises OSError or ValueError for what the call gets wrong."""
    if options.pages and (options.method != "GET" or options.include):
        raise ValueError("--pages goes with GET, and without --include")
    servers = options.server or [given for given in os.environ.get("LEDGERD_SERVER", "").split(",") if given] or [SERVER]
    if options.key_file is not None:
        key = options.key_file.read_text(encoding="ascii", errors="replace").strip()
    else:
        key = os.environ.get("LEDGERD_KEY", "").strip()
    if not key:
        raise ValueError("no API key: set LEDGERD_KEY, or give --key-file FILE; `make run` leaves one in var/admin.key")
    if not key.isascii() or not key.isprintable():
        raise ValueError("that is no API key: expected one line of ASCII, as `ledgerd key create` prints it")
    return Client([server.strip() for server in servers], key, timeout_s=options.timeout)


def _body(given: str | None) -> Any:
    """The JSON of the call, of a file or of standard input, read as the server does. Raises OSError, and ValueError."""
    if given is None:
        return None
    if given == "-":
        where, data = "standard input", sys.stdin.buffer.read(_MOST_BODY + 1)
    elif given.startswith("@"):
        where = given[1:]
        with open(where, "rb") as file:
            data = file.read(_MOST_BODY + 1)
    else:
        where, data = "the argument", os.fsencode(given)
    if len(data) > _MOST_BODY:
        raise ValueError(f"{where} is larger than {_MOST_BODY >> 20} MiB")
    try:
        with telling_what_is_wrong():
            return STRICT.decode(data.decode())
    except (MalformedRequest, InvalidInput) as error:
        raise ValueError(f"{where}: {error.message}") from error


def _print_pages(client: Client, options: argparse.Namespace) -> None:
    for each in client.pages(background(), options.path, headers=dict(options.header)):
        print(json.dumps(each, ensure_ascii=False))


def _print(reply: Reply, *, include: bool) -> None:
    """JSON is laid out for a terminal, and as it came for a program; anything else is as it came."""
    if include:
        print(reply.status, *(f"{name}: {value}" for name, value in reply.headers.items()), "", sep="\n")
    is_json = reply.headers.get("content-type", "").partition(";")[0].endswith("json")
    if reply.body and is_json and sys.stdout.isatty():
        print(json.dumps(reply.json, indent=2, ensure_ascii=False))
    elif reply.body:
        sys.stdout.flush()
        sys.stdout.buffer.write(reply.body if reply.body.endswith(b"\n") else reply.body + b"\n")


def _failed(error: LedgerdError) -> int:
    """Tell it, in lines of which the first begins with the code."""
    say(f"{error.code}: {error.message}")
    for each in error.fields:
        say(f"  {each.field}: {each.message}")
    for note in getattr(error, "__notes__", ()):
        say(f"  {note}")
    if isinstance(error, OutcomeUnknown):
        return _UNKNOWN
    return _LATER if isinstance(error, NOTHING_DONE) else _REFUSED
