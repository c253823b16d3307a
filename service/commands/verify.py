"""`ledgerd verify`: is every row what it was when it was sealed, and do all of them make sense together?"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor
from dataclasses import asdict
from typing import Any

from service.audit.findings import Examined, Finding, Part, Size
from service.commands import arguments
from service.commands.command import INTERRUPTED, add_command, let_output_go, positive, say
from service.commands.database import database
from service.commands.progress import Progress
from service.concurrency.context import background
from service.concurrency.processes import ProcessPool
from service.config import Config
from service.errors import ConfigurationError, LedgerdError, Unavailable
from service.repository.examination import examine
from service.repository.queries import sql_folder
from service.repository.snapshot import Snapshot, export_snapshot
from service.repository.verification import Verification

MOST_JOBS = 256
MOST_TOLD = 1_000  # findings
GOOD, TAMPERED, NOT_VERIFIED = 0, 1, 2


def add_verify_command(commands: Any) -> None:
    """Add `verify`."""
    command = add_command(
        commands, "verify", _verify,
        "Examine every ledger: each row against its seal, each account against its rows, holds, sums and idempotency keys. The"
        " service may run meanwhile. Status 0 where all is as it should be, 1 where something is not, 2 where that could not"
        " be found out.",
    )
    command.add_argument("--ledger", type=arguments.ledger_name, help="this ledger only")
    command.add_argument(
        "--jobs", type=positive(MOST_JOBS), default=len(os.sched_getaffinity(0)), metavar="N",
        help="processes, each with a connection (default: the cores there are)",
    )
    command.add_argument(
        "--expect", type=arguments.seal_hash, action="append", default=[], metavar="HASH",
        help="the hash of a seal that was kept elsewhere, which must be there; may be given several times",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def _verify(options: argparse.Namespace) -> int:
    try:
        with database(Config.from_env(os.environ)) as url:
            sizes, findings = _examine(url, options)
    except ConfigurationError as error:
        for problem in error.problems:
            say(problem)
        return NOT_VERIFIED
    except LedgerdError as error:
        say(error.message)
        return NOT_VERIFIED
    except (BrokenExecutor, OSError) as error:
        say(f"nothing was found out: {_why(error)}")
        return NOT_VERIFIED
    except KeyboardInterrupt:
        say("interrupted; nothing was found out")
        return INTERRUPTED
    findings.sort(key=lambda finding: (finding.ledger, finding.transfer_id or 0, finding.seal or 0, finding.code))
    try:
        if options.json:
            print(json.dumps({"ledgers": [_ledger(size) for size in sizes], "findings": _shown(findings)}, indent=2))
        else:
            _print(sizes, findings)
        sys.stdout.flush()
    except OSError as error:
        if findings and isinstance(error, BrokenPipeError):  # status 1 is right
            raise
        let_output_go()
        say(f"what was found cannot be written to standard output: {error.strerror}")
        return NOT_VERIFIED
    if not options.json:
        found = f"{len(findings)} findings; docs/operations.md says what each means"
        say(found if findings else "everything is as it should be")
    return TAMPERED if findings else GOOD


def _why(error: BrokenExecutor | OSError) -> str:
    if isinstance(error, BrokenExecutor):
        return "a process of the examination was killed; where memory was short, fewer --jobs need less"
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)


def _examine(url: str, options: argparse.Namespace) -> tuple[list[Size], list[Finding]]:
    """All of it, on one snapshot. Raises Unavailable when a part cannot be examined."""
    with export_snapshot(url) as (conn, snapshot):
        verification = Verification(conn, sql_folder(), frozenset(options.expect))
        sizes = verification.sizes(options.ledger)
        findings: list[Finding] = []
        jobs: Iterable[tuple[Snapshot, Part]] = ((snapshot, part) for part in verification.parts(sizes))
        total = sum(size.weight for size in sizes)
        progress = Progress(lambda: total, sys.stderr, show=lambda _, rows: f"{rows:,} of {total:,} rows")
        with ProcessPool(options.jobs) as pool:
            try:
                for examined in pool.map(background(), examine, jobs):
                    findings += _findings(examined)
                    progress.add(1, examined.weight)
            except (KeyboardInterrupt, LedgerdError, OSError):
                pool.kill()
                raise
            finally:
                progress.clear()
    findings += verification.findings
    for unmet in sorted(verification.unmet):
        findings.append(
            Finding("seal_not_there", options.ledger or "", None, None, None, "no seal with this hash", f"hash {unmet.hex()}")
        )
    return sizes, findings


def _findings(examined: Examined) -> list[Finding]:
    if examined.failure is not None:
        raise Unavailable(examined.failure)
    return list(examined.findings)


def _ledger(size: Size) -> dict[str, Any]:
    last = None
    if size.last_hash is not None:
        last = {"number": size.last_number, "last_id": size.last_id, "hash": size.last_hash.hex()}
    return {
        "ledger": size.ledger, "seals": size.seals, "sealed_transfers": size.sealed, "unsealed_transfers": size.unsealed,
        "last_seal": last,
    }


def _shown(findings: list[Finding]) -> list[dict[str, Any]]:
    return [asdict(finding) for finding in findings[:MOST_TOLD]]


def _print(sizes: list[Size], findings: list[Finding]) -> None:
    for size in sizes:
        not_sealed = f", {size.unsealed:,} not sealed yet" if size.unsealed else ""
        last = "" if size.last_hash is None else f"; last seal {size.last_number} {size.last_hash.hex()}"
        print(f"{size.ledger}: {size.seals:,} seals over {size.sealed:,} transfers{not_sealed}{last}")
    for finding in findings[:MOST_TOLD]:
        where = [
            f"{word} {number}"
            for word, number in (("transfer", finding.transfer_id), ("account", finding.account_id), ("seal", finding.seal))
            if number is not None
        ]
        told = [part for part in (finding.ledger, ", ".join(where), finding.code) if part]
        print(f"{': '.join(told)}: found {finding.found}; expected {finding.expected}")
