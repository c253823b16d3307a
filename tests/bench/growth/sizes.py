"""Bytes on disk: of a transfer with each of its indexes, and of what comes with it."""

from __future__ import annotations

import psycopg

_RELATIONS = """
SELECT table_class.relname, coalesce(index_class.relname, '(table)'),
       pg_relation_size(coalesce(index_class.oid, table_class.oid))
       + CASE WHEN index_class.oid IS NULL THEN pg_table_size(table_class.oid) - pg_relation_size(table_class.oid) ELSE 0 END
FROM pg_class AS table_class
LEFT JOIN LATERAL (SELECT NULL::oid AS indexrelid UNION ALL
                   SELECT indexrelid FROM pg_index WHERE indrelid = table_class.oid) AS index ON true
LEFT JOIN pg_class AS index_class ON index_class.oid = index.indexrelid
WHERE table_class.relname = ANY(%s) AND table_class.relkind = 'r'
ORDER BY 1, index_class.oid NULLS FIRST
"""
OF_A_TRANSFER = ("transfers", "idempotency_keys", "seals")
OF_AN_ACCOUNT = ("accounts", "account_changes")


def sizes(conn: psycopg.Connection, tables: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """By table, then by index (the table itself, with what is out of line, is `(table)`): bytes."""
    found: dict[str, dict[str, int]] = {}
    for table, index, size in conn.execute(_RELATIONS, (list(tables),)).fetchall():
        found.setdefault(table, {})[index] = size
    return found


def per_row(conn: psycopg.Connection, tables: tuple[str, ...], rows: int) -> str:
    """A line a relation: bytes for each of so many rows; those that take less than a tenth of a byte are left out."""
    lines = []
    for table, relations in sizes(conn, tables).items():
        shown = [f"{index} {size / rows:.1f}" for index, size in relations.items() if size / rows >= 0.1]
        lines.append(f"  {table}: {sum(relations.values()) / rows:.1f} ({', '.join(shown)})" if shown else "")
    return "\n".join(line for line in lines if line)
