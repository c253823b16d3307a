"""Migrations: plain SQL, forward only, each in one transaction, all under one advisory lock.

Several processes may start at once: the first does the work, the others wait and find it done. A migration that was applied
must not change afterwards; its checksum is kept and compared. Functions (sql/functions) are replaced as a whole when their
text has changed. A database that is ahead of this code is left as it is, so that the old version runs on during a release.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection

from service.errors import ConfigurationError
from service.repository.connect import connect

OLDEST_SERVER = 15
_LOCK = 7310_575_013  # any number that nothing else takes as an advisory lock
_FILE = re.compile(r"(\d{4})_(\w+)\.sql")

_BOOKS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version     int CONSTRAINT schema_migrations_pkey PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS schema_functions (
    name        text CONSTRAINT schema_functions_pkey PRIMARY KEY,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of sql/migrations."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """The SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a database stands to this code. Functions are compared with what the server runs, not with what was noted."""

    missing: list[Migration]
    changed: list[Migration]
    ahead: list[int]
    other_functions: list[str]


def find_migrations(folder: Path) -> list[Migration]:
    """The migrations of `folder` in order. Raises ValueError for a gap, a double or a file that is none."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path.name}: expected NNNN_name.sql")
        found.append(Migration(int(match[1]), match[2], path.read_text("utf-8")))
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations in {folder} are not numbered 1, 2, 3 …")
    return found


def migrate(conninfo: str, folder: Path, report: Callable[[str], None]) -> int:
    """Bring the database to the state of `folder` (sql/); returns how many steps it took and reports each.

    Raises ConfigurationError when the server is too old or cannot be reached, a migration fails (nothing of it stays), or one
    that was applied has changed since.
    """
    with connect(conninfo) as conn:
        if conn.info.server_version < OLDEST_SERVER * 10_000:
            raise ConfigurationError(
                f"PostgreSQL {conn.info.server_version // 10_000} is too old: ledgerd needs {OLDEST_SERVER} or newer"
            )
        conn.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        conn.execute(_BOOKS)
        return _apply_migrations(conn, folder, report) + _replace_functions(conn, folder, report)


def standing(conn: Connection[Any], folder: Path) -> Standing:
    """What `migrate` would find to do with the database of `conn`. It changes nothing."""
    known = find_migrations(folder / "migrations")
    (is_there,) = conn.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone() or (False,)
    query = "SELECT version, checksum FROM schema_migrations ORDER BY version"
    applied: dict[int, str] = dict(conn.execute(query).fetchall()) if is_there else {}
    files = {path.stem: path.read_text("utf-8") for path in (folder / "functions").glob("*.sql")}
    query = "SELECT proname, prosrc FROM pg_proc WHERE proname = ANY (%s) AND pronamespace = current_schema()::regnamespace"
    bodies: list[tuple[str, str]] = conn.execute(query, (list(files),)).fetchall()
    return Standing(
        missing=[migration for migration in known if migration.version not in applied],
        changed=[m for m in known if applied.get(m.version, m.checksum) != m.checksum],
        ahead=sorted(applied.keys() - {migration.version for migration in known}),
        other_functions=sorted(  # one with other arguments may be left for the version before this one
            name for name, text in files.items() if not any(other == name and body in text for other, body in bodies)
        ),
    )


def _apply_migrations(conn: Connection[Any], folder: Path, report: Callable[[str], None]) -> int:
    applied = dict(conn.execute("SELECT version, checksum FROM schema_migrations").fetchall())
    pending = []
    for migration in find_migrations(folder / "migrations"):
        if migration.version not in applied:
            pending.append(migration)
        elif applied[migration.version] != migration.checksum:
            raise ConfigurationError(
                f"migration {migration.version:04} ({migration.name}) was changed after it was applied to this database;"
                " restore the file and put the change into a new migration"
            )
    for migration in pending:
        try:
            with conn.transaction():
                conn.execute(migration.text)
                conn.execute(
                    "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
                    (migration.version, migration.name, migration.checksum),
                )
        except psycopg.Error as exc:
            raise ConfigurationError(f"migration {migration.version:04} ({migration.name}) failed: {exc}") from exc
        report(f"applied migration {migration.version:04} {migration.name}")
    return len(pending)


def _replace_functions(conn: Connection[Any], folder: Path, report: Callable[[str], None]) -> int:
    present = dict(conn.execute("SELECT name, checksum FROM schema_functions").fetchall())
    replaced = 0
    for path in sorted((folder / "functions").glob("*.sql")):
        text = path.read_text("utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        if present.get(path.stem) == checksum:
            continue
        with conn.transaction():
            conn.execute(text)
            conn.execute(
                "INSERT INTO schema_functions (name, checksum) VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()",
                (path.stem, checksum),
            )
        report(f"replaced function {path.stem}")
        replaced += 1
    return replaced
