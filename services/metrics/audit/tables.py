"""Is all there that the audit reads, and may it be read?"""

from collections.abc import Iterable, Mapping
from typing import Any

from libs.common.db.pool import Connection
from services.metrics.audit.errors import CannotAudit

# A schema that one may not use is no part of one's search path: its tables would seem to be missing.
_CLOSED = """
SELECT nspname FROM pg_namespace
WHERE nspname = current_setting('search_path') AND NOT has_schema_privilege(oid, 'USAGE')
"""
_MISSING = "SELECT name FROM unnest($1::text[]) AS names (name) WHERE to_regclass(name) IS NULL"
_UNREADABLE = """
SELECT name FROM unnest($1::text[]) AS names (name) WHERE NOT has_table_privilege(to_regclass(name), 'SELECT')
"""
_WITHOUT = """
SELECT name FROM unnest($2::text[]) AS names (name)
WHERE NOT EXISTS (SELECT FROM pg_attribute
    WHERE attrelid = to_regclass($1) AND attname = names.name AND NOT attisdropped)
"""


async def check_tables(connection: Connection, columns: Mapping[str, Iterable[str]]) -> None:
    """Return when these tables have these columns, and the connection's user may read them. Raises
    CannotAudit that names what is missing."""
    tables = list(columns)
    if closed := await connection.fetchval(_CLOSED):
        raise _not_allowed(f"the schema {closed}")
    if missing := await connection.fetch(_MISSING, tables):
        raise CannotAudit(
            f"the database has no tables {_names(missing)} of metrics",
            next_step="start python -m services.metrics ingest, which makes them; or correct DATABASE_URL",
        )
    if unreadable := await connection.fetch(_UNREADABLE, tables):
        raise _not_allowed(f"the tables {_names(unreadable)}")
    for table in tables:
        if without := await connection.fetch(_WITHOUT, table, list(columns[table])):
            raise CannotAudit(
                f"the database is older than this version of the audit: {table} has no {_names(without)}",
                next_step="audit with the version of Trimtab that ingest runs, or start this version's "
                "ingest, which migrates the database",
            )


def _names(rows: Iterable[Any]) -> str:
    return ", ".join(row["name"] for row in rows)


def _not_allowed(what: str) -> CannotAudit:
    return CannotAudit(
        f"the user in DATABASE_URL may not read {what}",
        next_step="GRANT USAGE ON SCHEMA metrics and SELECT ON ALL TABLES IN SCHEMA metrics to it, "
        "or name the user of the services",
    )
